//! A server, a kubeconfig that leads to it, and what a follower has of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use seaway_cluster::api_server::{Options, follow};
use seaway_cluster::source::Wants;
use seaway_cluster::{Kind, ServiceName, Snapshot, Update};
use seaway_harness::{ApiBehaviour, ApiServer};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

/// Long enough for a loaded machine; a test that reaches it has failed anyway.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of all objects that belong to one.
const NAMESPACE: &str = "n";

pub(crate) struct Setting {
    pub(crate) server: ApiServer,
    pub(crate) folder: TempDir,
    pub(crate) kubeconfig: PathBuf,
}

pub(crate) struct Facts {
    pub(crate) updates: watch::Receiver<Update>,
}

/// Waits that suit a test.
pub(crate) fn quick() -> Options {
    Options {
        silence: Duration::from_secs(2),
        retry: (Duration::from_millis(10), Duration::from_millis(50)),
        ..Options::default()
    }
}

impl Setting {
    pub(crate) fn new(behaviour: ApiBehaviour) -> Self {
        let server = ApiServer::start(behaviour);
        let folder = TempDir::with_prefix("seaway-api-").unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        server.write_kubeconfig(&kubeconfig, None);
        Self { server, folder, kubeconfig }
    }

    pub(crate) async fn follow(&self, options: Options) -> Facts {
        self.follow_for(&Wants::proxy("node-1"), options).await
    }

    pub(crate) async fn follow_for(&self, wants: &Wants, options: Options) -> Facts {
        Facts::follow(&self.kubeconfig, wants, options).await
    }

    /// Waits until there were this many requests.
    pub(crate) async fn settled(&self, requests: usize) {
        let wait = async {
            let mut seen = 0;
            while seen < requests {
                tokio::time::sleep(Duration::from_millis(10)).await;
                seen += self.server.take_requests().len();
            }
        };
        timeout(PATIENCE, wait).await.expect("as many requests");
    }
}

impl Facts {
    /// The first facts from the server that a kubeconfig leads to.
    pub(crate) async fn follow(kubeconfig: &Path, wants: &Wants, options: Options) -> Self {
        let follow = follow(Some(kubeconfig), wants, options);
        let updates = timeout(PATIENCE, follow).await.expect("the first facts").expect("a kubeconfig");
        Self { updates }
    }

    /// Waits for this many Services and endpoints.
    pub(crate) async fn until(&mut self, services: usize, endpoints: usize) {
        let wait = self.updates.wait_for(|update| counts(update) == (services, endpoints));
        let found = timeout(PATIENCE, wait).await.is_ok_and(|found| found.is_ok());
        let (last, warnings) = (counts(&self.updates.borrow()), self.warnings());
        assert!(found, "{services} services, {endpoints} endpoints; found {last:?}; warnings: {warnings}");
    }

    /// Waits for a warning with this text; for none at all if it is empty.
    pub(crate) async fn until_warnings(&mut self, part: &str) {
        let told = |update: &Update| match part {
            "" => update.warnings.is_empty(),
            part => update.warnings.iter().any(|warning| warning.to_string().contains(part)),
        };
        let found = timeout(PATIENCE, self.updates.wait_for(told)).await.is_ok_and(|found| found.is_ok());
        assert!(found, "no warning {part:?} in: {}", self.warnings());
    }

    /// Waits until this holds.
    pub(crate) async fn until_true(&mut self, holds: impl FnMut(&Update) -> bool) {
        let found = timeout(PATIENCE, self.updates.wait_for(holds)).await;
        assert!(found.is_ok_and(|found| found.is_ok()), "it never held");
    }

    /// Waits for this many warnings, and returns them.
    pub(crate) async fn until_warning_count(&mut self, count: usize) -> String {
        let wait = self.updates.wait_for(|update| update.warnings.len() == count);
        let found = timeout(PATIENCE, wait).await.is_ok_and(|found| found.is_ok());
        assert!(found, "{count} warnings; found: {}", self.warnings());
        self.warnings()
    }

    pub(crate) fn warnings(&self) -> String {
        let warnings = self.updates.borrow().warnings.clone();
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    /// How often a watch of a kind was found to have stopped.
    pub(crate) fn lost(&self, kind: Kind) -> u64 {
        self.updates.borrow().freshness.followed().get(&kind).map_or(0, |followed| followed.lost)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.updates.borrow().snapshot)
    }
}

/// Services and endpoints of the tests' namespace: a real server has a Service of its own in another one.
fn counts(update: &Update) -> (usize, usize) {
    let snapshot = &update.snapshot;
    let own = |name: &&ServiceName| &*name.namespace == NAMESPACE;
    let slices = snapshot.slices.iter().filter(|(name, _)| own(name)).flat_map(|(_, slices)| slices.values());
    (snapshot.services.keys().filter(own).count(), slices.map(|slice| slice.endpoints.len()).sum())
}
