//! The dataplane in the agent's hands: loaded first, attached once the first facts are in the maps.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use seaway_cluster::{Node, Update, Waiting};
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::pins::Pins;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::Programs;
use seaway_dataplane::sync::{Event, Outcome, Sync};
use seaway_dataplane::{Maps, attach};

use super::Args;
use super::interfaces::Interfaces;
use super::report::Report;
use super::told::Told;

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
    told: Told,
    /// What [`note_source`](Self::note_source) was told last, until it is in force.
    waiting: Waiting,
    node: String,
    /// Without a cluster there may be no Node object, and the node is fit all the same.
    stand_in: Option<Arc<Node>>,
    here: Option<Arc<Node>>,
}

impl Agent {
    /// Loads the programs with the pinned maps, or with new ones that it pins.
    pub(super) fn load(
        args: &Args,
        probe: Probe,
        pins: &Pins,
        node: &str,
        interfaces: Interfaces,
        told: Told,
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
            told,
            waiting: Waiting::default(),
            node: node.to_owned(),
            stand_in: args.facts.manifests.as_ref().map(|_| Arc::default()),
            here: None,
        })
    }

    /// Takes note of what is wrong with the source.
    pub(super) fn note_source(&mut self, update: &Update) {
        self.report.note_source(&update.warnings);
        self.told.metrics().warnings(update.warnings.len());
        self.waiting.add(update.arrivals.take());
        self.told.metrics().pending(&self.waiting);
        self.told.queued();
        self.here = update.snapshot.nodes.get(self.node.as_str()).or(self.stand_in.as_ref()).cloned();
    }

    /// Deals with an event. Returns when to send a retry.
    pub(super) fn handle(&mut self, event: Event, now_ms: u64) -> Result<Option<Duration>> {
        let audit = matches!(event, Event::Audit);
        let full = !matches!(event, Event::Facts(_));
        let begun = Instant::now();
        let outcome = self.sync.handle(event, now_ms);
        if outcome.error.is_none() {
            self.note_synced(full, begun.elapsed());
        }
        self.tell(audit, &outcome);
        if !self.attached && outcome.error.is_none() {
            self.attach()?;
        }
        if audit || self.report.is_new() {
            self.told.count_without_local(self.sync.desired());
        }
        self.report.publish(&self.sync, &outcome, self.attached);
        Ok(outcome.retry_in)
    }

    /// What waited is in force.
    fn note_synced(&mut self, full: bool, took: Duration) {
        let waited = std::mem::take(&mut self.waiting);
        let first = !self.attached;
        self.told.synced(full || first, took, &waited, first, self.here.as_deref());
        self.told.metrics().pending(&self.waiting);
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
