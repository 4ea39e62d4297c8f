//! What the agent tells: each warning once in the log, all of them in the status file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use seaway_cluster::Warning;
use seaway_dataplane::Maps;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::status::Status;
use seaway_dataplane::sync::{Outcome, Sync};

use super::Args;

/// The state behind the status file.
pub(super) struct Report {
    run_dir: PathBuf,
    source: BTreeSet<String>,
    told: BTreeSet<String>,
    status: Status,
}

impl Report {
    /// Nothing is in force yet.
    pub(super) fn new(args: &Args, probe: Probe, node: String, folder: &Path) -> Self {
        let status = Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: false,
            revision: 0,
            synced_at_ms: 0,
            services: 0,
            frontends: 0,
            backends: 0,
            node,
            manifests: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
            interfaces: args.interfaces.clone(),
            cgroup: args.cgroup.clone(),
            probe,
            warnings: Vec::new(),
            error: None,
        };
        let run_dir = args.places.run_dir.clone();
        Self { run_dir, source: BTreeSet::new(), told: BTreeSet::new(), status }
    }

    /// Replaces what is wrong with the source.
    pub(super) fn note_source(&mut self, warnings: &[Warning]) {
        self.source = warnings.iter().map(ToString::to_string).collect();
    }

    /// Tells what came of an event.
    pub(super) fn publish<M: Maps>(&mut self, sync: &Sync<M>, outcome: &Outcome, attached: bool) {
        let installed = sync.installed();
        let status = &mut self.status;
        status.ready = attached;
        status.error = outcome.error.as_ref().map(|error| format!("{error}: {}", error.source));
        if outcome.error.is_none() {
            status.revision += 1;
            status.synced_at_ms = now_ms();
        }
        status.services = installed.keys().count();
        status.frontends = installed.frontends().len();
        status.backends = installed.backends().len();
        let mut warnings = self.source.clone();
        warnings.extend(outcome.full.iter().map(ToString::to_string));
        warnings.extend(outcome.conflicts.iter().map(ToString::to_string));
        warnings.extend(
            outcome.ignored_empty.then(|| "the source has no objects at all; nothing is removed".to_owned()),
        );
        for warning in warnings.difference(&self.told) {
            tracing::warn!("{warning}");
        }
        status.warnings = warnings.iter().cloned().collect();
        self.told = warnings;
        if let Err(error) = status.write(&self.run_dir) {
            tracing::warn!(%error, folder = %self.run_dir.display(), "cannot write the status file");
        }
    }

    /// Removes the status file.
    pub(super) fn withdraw(&self) {
        if let Err(error) = Status::remove(&self.run_dir) {
            tracing::debug!(%error, "no status file to remove");
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
