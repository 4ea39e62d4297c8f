//! Edits of a manifest folder, followed as they happen.
//!
//! ```text
//!   inotify ── change ──▶ settle ── quiet ──▶ reload ──▶ watch channel ──▶ readers
//!   rescan timer ───────────────────────────────┘
//! ```
//!
//! Files are read on tokio's blocking threads: parsing a large folder takes longer than a loop that
//! also answers DNS may stall. One reload runs at a time, and its result replaces the last one as
//! a whole, so a reader never sees half of an edit that settled as one.
//!
//! The kernel's events are only a hint. The folder itself and its parent are watched, so files
//! written in place, renamed over, or swapped by a link in the folder (as mounted ConfigMaps are)
//! are seen at once. What inotify cannot see, such as a link that leads through other folders, is
//! found by the rescan. A writer that pauses within a file can have half of it read; one that
//! renames the finished file over the old one cannot.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::settle::Settle;
use super::watcher::FolderWatcher;
use super::{Error, ManifestDir, Update};
use crate::ServiceName;

/// How a folder is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowOptions {
    /// An edit is taken up after this long without another (default 100 ms).
    pub quiet: Duration,
    /// Edits that do not stop are taken up after this long (default 1 s).
    pub limit: Duration,
    /// The folder is looked through this often, whatever the kernel reports (default 10 s).
    pub rescan: Duration,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(100),
            limit: Duration::from_secs(1),
            rescan: Duration::from_secs(10),
        }
    }
}

/// Reads a folder and follows its edits in a task of the current tokio runtime, until the last
/// receiver is gone. The receiver holds what is in force now and is marked changed when the
/// snapshot or the warnings change.
///
/// # Errors
/// As [`ManifestDir::open`]; later troubles are warnings.
///
/// # Panics
/// Outside of a tokio runtime with time enabled.
pub fn follow(dir: impl Into<PathBuf>, options: FollowOptions) -> Result<watch::Receiver<Update>, Error> {
    let dir = dir.into();
    let changed = Arc::new(Notify::new());
    // The watch comes first, so that no change falls between the first reading and it.
    let watcher = FolderWatcher::new(&dir, &changed);
    let folder = ManifestDir::open(dir)?;
    let (sender, receiver) = watch::channel(in_force(&folder, &watcher));
    tokio::spawn(Follower { folder, sender, changed, watcher }.run(options));
    Ok(receiver)
}

struct Follower {
    folder: ManifestDir,
    sender: watch::Sender<Update>,
    changed: Arc<Notify>,
    watcher: FolderWatcher,
}

impl Follower {
    async fn run(mut self, options: FollowOptions) {
        let mut settle = Settle::new(options.quiet, options.limit);
        let mut rescan = Instant::now() + options.rescan;
        loop {
            let wake = settle.deadline().map_or(rescan, Instant::from_std);
            tokio::select! {
                () = self.sender.closed() => return,
                () = self.changed.notified() => settle.note(Instant::now().into_std()),
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            let idle = settle.deadline().is_none();
            if settle.take(now.into_std()) || (idle && rescan <= now) {
                let Some(this) = self.reload().await else { return };
                self = this;
                rescan = Instant::now() + options.rescan;
            }
        }
    }

    /// Reads the folder again and passes on what changed; `None` if the runtime shuts down.
    async fn reload(mut self) -> Option<Self> {
        let work = move || {
            self.watcher.renew();
            self.folder.reload(SystemTime::now());
            self
        };
        let this = match tokio::task::spawn_blocking(work).await {
            Ok(this) => this,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => return None,
            },
        };
        let update = in_force(&this.folder, &this.watcher);
        this.sender.send_if_modified(|current| {
            let changed = !current.same(&update);
            if changed {
                note_arrival(current, &update);
                *current = update;
            }
            changed
        });
        Some(this)
    }
}

fn in_force(folder: &ManifestDir, watcher: &FolderWatcher) -> Update {
    let mut update = folder.current().clone();
    if let Some(trouble) = &watcher.trouble {
        update.warnings = update.warnings.iter().chain([trouble]).cloned().collect();
    }
    update
}

/// Files tell no single changes, so the Services that are another thing now are counted.
fn note_arrival(before: &Update, now: &Update) {
    let changed = now.snapshot.changed_services(&before.snapshot);
    let itself =
        |name: &&ServiceName| before.snapshot.services.get(*name) != now.snapshot.services.get(*name);
    let services = changed.iter().filter(|name| itself(name)).count();
    if !changed.is_empty() {
        now.arrivals.note(std::time::Instant::now(), |waiting| {
            waiting.services += services as u64;
            waiting.slices += (changed.len() - services) as u64;
        });
    }
}
