//! The dataplane in the agent's hands: loaded first, attached once the first facts are in the maps.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use seaway_cluster::Warning;
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::pins::Pins;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::Programs;
use seaway_dataplane::sync::{Event, Outcome, Sync};
use seaway_dataplane::{Maps, attach};

use super::Args;
use super::report::Report;

/// Programs, maps, and what is told about them.
pub(super) struct Agent {
    programs: Programs,
    sync: Sync<KernelMaps>,
    links: PathBuf,
    interfaces: Vec<String>,
    cgroup: Option<PathBuf>,
    attached: bool,
    report: Report,
}

impl Agent {
    /// Loads the programs with the pinned maps, or with new ones that it pins.
    pub(super) fn load(args: &Args, probe: Probe, pins: &Pins, node: String, folder: &Path) -> Result<Self> {
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
        let report = Report::new(args, probe, node.clone(), folder);
        Ok(Self {
            programs,
            sync: Sync::new(maps, node)?,
            links: pins.links(),
            interfaces: args.interfaces.clone(),
            cgroup: args.cgroup.clone(),
            attached: false,
            report,
        })
    }

    /// Takes note of what is wrong with the source.
    pub(super) fn note_source(&mut self, warnings: &[Warning]) {
        self.report.note_source(warnings);
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

    /// Traffic is taken over when the maps say where it goes, not before.
    fn attach(&mut self) -> Result<()> {
        for gone in attach::retain(&self.links, &self.interfaces, self.cgroup.as_deref())? {
            tracing::info!(link = gone, "detached: it is no longer asked for");
        }
        for interface in &self.interfaces {
            let how = attach::interface(&mut self.programs, &self.links, interface)?;
            tracing::info!(interface, ?how, "attached");
        }
        if let Some(cgroup) = &self.cgroup {
            let how = attach::cgroup(&mut self.programs, &self.links, cgroup)?;
            tracing::info!(cgroup = %cgroup.display(), ?how, "attached");
        }
        self.attached = true;
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
        } else if !audit {
            tracing::info!(
                operations = outcome.applied,
                services = self.sync.installed().keys().count(),
                "in force"
            );
        }
    }
}
