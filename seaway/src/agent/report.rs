//! What the agent tells: each warning once in the log, all of them in the status file, their number as a
//! metric.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seaway_cluster::Warning;
use seaway_dataplane::attachments::{self, State};
use seaway_dataplane::kube_proxy;
use seaway_dataplane::metrics::Metrics;
use seaway_dataplane::node_interfaces::Choice;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::XDP_LB;
use seaway_dataplane::site::Settings;
use seaway_dataplane::status::Status;
use seaway_dataplane::sync::{Outcome, Sync};
use seaway_dataplane::{Maps, Site};
use tokio::time::{Instant, sleep_until};

use super::Args;

/// The status file is written this often at most: under a burst it must not cost more than the
/// changes that it tells of.
const WRITE_EVERY: Duration = Duration::from_millis(50);

/// The state behind the status file.
pub(super) struct Report {
    run_dir: PathBuf,
    source: Arc<[Warning]>,
    source_texts: BTreeSet<String>,
    sync_texts: BTreeSet<String>,
    health_texts: BTreeSet<String>,
    /// Programs that are not attached.
    attachment_texts: BTreeSet<String>,
    /// Rules of another proxy that are still there.
    leftover_texts: BTreeSet<String>,
    told: BTreeSet<String>,
    status: Status,
    metrics: Arc<Metrics>,
    written: Instant,
    /// The file does not say everything yet.
    stale: bool,
}

impl Report {
    /// Nothing is in force yet.
    pub(super) fn new(args: &Args, probe: Probe, node: String, metrics: Arc<Metrics>) -> Self {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
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
            manifests: args.facts.manifests.as_ref().map(absolute),
            kubeconfig: args.facts.kubeconfig.as_ref().map(absolute),
            settings: Settings::default(),
            interfaces: Vec::new(),
            attachments: Vec::new(),
            cgroup: args.cgroup.clone(),
            probe,
            warnings: Vec::new(),
            error: None,
            interface_choices: Vec::new(),
        };
        let run_dir = args.places.run_dir.clone();
        Self {
            run_dir,
            source: Arc::default(),
            source_texts: BTreeSet::new(),
            sync_texts: BTreeSet::new(),
            health_texts: BTreeSet::new(),
            attachment_texts: BTreeSet::new(),
            leftover_texts: BTreeSet::new(),
            told: BTreeSet::new(),
            status,
            metrics,
            written: Instant::now(),
            stale: false,
        }
    }

    /// Replaces what is wrong with the source.
    pub(super) fn note_source(&mut self, warnings: &Arc<[Warning]>) {
        if !Arc::ptr_eq(&self.source, warnings) {
            self.source = Arc::clone(warnings);
            self.source_texts = warnings.iter().map(ToString::to_string).collect();
        }
    }

    /// Replaces what is known of the node.
    pub(super) fn note_site(&mut self, site: &Site) {
        self.status.settings = Settings::of(site);
        self.stale = true;
    }

    /// Replaces what became of the attachments.
    pub(super) fn note_attachments(&mut self, states: &[State]) {
        let missing = states.iter().filter_map(|state| Some((state, state.missing.clone()?)));
        self.attachment_texts = attachments::lines(missing).into_iter().collect();
        let of = |these: &dyn Fn(&State) -> bool| -> BTreeSet<String> {
            states.iter().filter(|state| these(state)).filter_map(|state| state.interface.clone()).collect()
        };
        let outside = of(&|state| state.program == XDP_LB);
        let not_served = of(&|state| state.missing.is_some() && !state.served);
        self.status.interfaces = outside.difference(&not_served).cloned().collect();
        self.status.attachments = states.to_vec();
        self.tell();
    }

    /// Replaces what each interface is taken for.
    pub(super) fn note_choices(&mut self, choices: Vec<Choice>) {
        if choices == self.status.interface_choices {
            return;
        }
        self.status.interface_choices = choices;
        self.stale = true;
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
        status.services = installed.len();
        status.frontends = installed.frontends().len();
        status.backends = installed.backends().len();
        let mut warnings = BTreeSet::new();
        warnings.extend(outcome.full.iter().map(ToString::to_string));
        let random = |full: &_| format!("{full}; its endpoints are chosen at random until then");
        warnings.extend(outcome.without_table.iter().map(random));
        warnings.extend(outcome.warnings.iter().cloned());
        warnings.extend(outcome.conflicts.iter().map(ToString::to_string));
        warnings.extend(
            outcome.ignored_empty.then(|| "the source has no objects at all; nothing is removed".to_owned()),
        );
        self.sync_texts = warnings;
        self.tell();
    }

    /// Replaces the health check ports that cannot be listened on.
    pub(super) fn note_health_checks(&mut self, closed: BTreeSet<String>) {
        self.health_texts = closed;
    }

    /// Looks whether a kube-proxy runs or left something behind. Without the right to look, nothing is said.
    pub(super) fn look_for_leftovers(&mut self) {
        let found = kube_proxy::leftovers().inspect_err(|error| {
            tracing::debug!(%error, "cannot look for rules of kube-proxy");
        });
        let told = |what: String| {
            format!(
                "kube-proxy is still here: {what}; it translates what Seaway passes on; run \
                 `kube-proxy --cleanup` on this node once it has stopped"
            )
        };
        self.leftover_texts = found.unwrap_or_default().into_iter().map(told).collect();
    }

    /// Whether rules of a kube-proxy are here, so that connections may be in the kernel's connection tracking.
    pub(super) fn finds_kube_proxy(&self) -> bool {
        !self.leftover_texts.is_empty()
    }

    /// Tells what is wrong now: what is new in the log, all of it in the file.
    pub(super) fn tell(&mut self) {
        let parts = [
            &self.source_texts,
            &self.sync_texts,
            &self.health_texts,
            &self.attachment_texts,
            &self.leftover_texts,
        ];
        let warnings: BTreeSet<String> = parts.into_iter().flatten().cloned().collect();
        for warning in warnings.difference(&self.told) {
            tracing::warn!("{warning}");
        }
        self.status.warnings = warnings.iter().cloned().collect();
        self.metrics.warnings(warnings.len());
        self.told = warnings;
        self.stale = true;
        if self.written.elapsed() >= WRITE_EVERY || status_is_new(&self.status) {
            self.write();
        }
    }

    /// Whether nothing was told yet.
    pub(super) fn is_new(&self) -> bool {
        self.status.revision == 0
    }

    /// When the file has to be written; never, if it says everything.
    pub(super) fn due(&self) -> impl Future<Output = ()> + use<> {
        let at = self.stale.then(|| self.written + WRITE_EVERY);
        async move {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Writes the file.
    pub(super) fn write(&mut self) {
        (self.stale, self.written) = (false, Instant::now());
        if let Err(error) = self.status.write(&self.run_dir) {
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

/// The first word of an agent is waited for.
fn status_is_new(status: &Status) -> bool {
    status.revision <= 1
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
