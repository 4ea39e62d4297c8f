//! The dataplane in the agent's hands: loaded first, attached once the first facts are in the maps.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use seaway_cluster::Update;
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::pins::Pins;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::Programs;
use seaway_dataplane::sync::{Event, Outcome, Sync};
use seaway_dataplane::{Maps, attach};

use super::Args;
use super::interfaces::Interfaces;
use super::report::Report;

/// Programs, maps, and what is told about them.
pub(super) struct Agent {
    programs: Programs,
    sync: Sync<KernelMaps>,
    links: PathBuf,
    interfaces: Interfaces,
    /// Interfaces that the XDP program is attached to.
    on: BTreeSet<String>,
    cgroup: Option<PathBuf>,
    attached: bool,
    report: Report,
}

impl Agent {
    /// Loads the programs with the pinned maps, or with new ones that it pins.
    pub(super) fn load(
        args: &Args,
        probe: Probe,
        pins: &Pins,
        node: &str,
        interfaces: Interfaces,
    ) -> Result<Self> {
        tracing::info!(%probe, node, "loading");
        let wanted = args.capacity.capacities();
        let programs = Programs::load(&probe, &wanted, Some(&pins.maps()))?;
        let maps = programs.maps()?;
        if maps.capacities() != wanted {
            let found = maps.capacities();
            tracing::warn!(
                ?found,
                ?wanted,
                "the pinned maps keep their size; run `seaway agent --cleanup` to make them anew"
            );
        }
        let report = Report::new(args, probe, node.to_owned());
        Ok(Self {
            programs,
            sync: Sync::new(maps, node)?,
            links: pins.links(),
            interfaces,
            on: BTreeSet::new(),
            cgroup: args.cgroup.clone(),
            attached: false,
            report,
        })
    }

    /// Takes note of what is wrong with the source.
    pub(super) fn note_source(&mut self, update: &Update) {
        self.report.note_source(&update.warnings);
    }

    /// Deals with an event. Returns when to send a retry.
    pub(super) fn handle(&mut self, event: Event, now_ms: u64) -> Result<Option<Duration>> {
        let audit = matches!(event, Event::Audit);
        let outcome = self.sync.handle(event, now_ms);
        self.tell(audit, &outcome);
        if !self.attached && outcome.error.is_none() {
            self.attach()?;
        }
        self.report.publish(&self.sync, &outcome, self.attached);
        Ok(outcome.retry_in)
    }

    /// The agent ends: nobody speaks for the maps any more.
    pub(super) fn stop(&self) {
        self.report.withdraw();
    }

    /// Whether [`look_for_interfaces`](Self::look_for_interfaces) may find something.
    pub(super) fn interfaces_may_grow(&self) -> bool {
        self.attached && self.interfaces.may_grow()
    }

    /// Attaches to interfaces of a pattern that came, and forgets those that went.
    pub(super) fn look_for_interfaces(&mut self) -> Result<()> {
        let present = self.interfaces.present()?;
        if present != self.on {
            self.attach_interfaces(&present)?;
            self.report.note_interfaces(&self.on);
        }
        Ok(())
    }

    /// When the status file has to be written; never, if it says everything.
    pub(super) fn status_due(&self) -> impl Future<Output = ()> + use<> {
        self.report.due()
    }

    /// Writes the status file.
    pub(super) fn write_status(&mut self) {
        self.report.write();
    }

    /// Traffic is taken over when the maps say where it goes, not before.
    fn attach(&mut self) -> Result<()> {
        let present = self.interfaces.present()?;
        self.attach_interfaces(&present)?;
        if let Some(cgroup) = &self.cgroup {
            let how = attach::cgroup(&mut self.programs, &self.links, cgroup)?;
            tracing::info!(cgroup = %cgroup.display(), ?how, "attached");
        }
        self.attached = true;
        self.report.note_interfaces(&self.on);
        Ok(())
    }

    fn attach_interfaces(&mut self, present: &BTreeSet<String>) -> Result<()> {
        let names: Vec<String> = present.iter().cloned().collect();
        for gone in attach::retain(&self.links, &names, self.cgroup.as_deref())? {
            tracing::info!(link = gone, "detached: it is no longer asked for");
        }
        self.on.retain(|interface| present.contains(interface));
        for interface in present.difference(&self.on.clone()) {
            match attach::interface(&mut self.programs, &self.links, interface) {
                Ok(how) => tracing::info!(interface, ?how, "attached"),
                // One of a pattern may be gone again already, and then is not there the next time.
                Err(error) if !self.interfaces.named().contains(interface) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(interface, error, "cannot attach; it will be tried again");
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            self.on.insert(interface.clone());
        }
        Ok(())
    }

    fn tell(&self, audit: bool, outcome: &Outcome) {
        if let Some(error) = &outcome.error {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, retry_in = ?outcome.retry_in, "a change is not in force yet");
        } else if audit && outcome.applied != 0 {
            tracing::warn!(
                operations = outcome.applied,
                "the maps had been changed by something else; they are right again"
            );
        } else if !self.attached {
            let services = self.sync.installed().len();
            tracing::info!(operations = outcome.applied, services, "in force");
        } else if !audit {
            tracing::debug!(operations = outcome.applied, "in force");
        }
    }
}
