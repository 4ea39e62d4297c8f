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
//! found by the rescan.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::settle::Settle;
use super::{Error, ManifestDir, Update};
use crate::{Place, Warning};

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
    let folder = ManifestDir::open(dir)?;
    let (sender, receiver) = watch::channel(folder.current().clone());
    let follower = Follower::new(folder, sender);
    tokio::spawn(follower.run(options));
    Ok(receiver)
}

struct Follower {
    folder: ManifestDir,
    sender: watch::Sender<Update>,
    changed: Arc<Notify>,
    watcher: FolderWatcher,
}

impl Follower {
    fn new(folder: ManifestDir, sender: watch::Sender<Update>) -> Self {
        let changed = Arc::new(Notify::new());
        // The kernel's events carry absolute paths.
        let path = std::path::absolute(folder.path()).unwrap_or_else(|_| folder.path().to_owned());
        let watcher = FolderWatcher::new(path, &changed);
        Self { folder, sender, changed, watcher }
    }

    async fn run(mut self, options: FollowOptions) {
        let mut settle = Settle::new(options.quiet, options.limit);
        // What changed between the first reading and the watch would be missed otherwise.
        settle.note(Instant::now().into_std());
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
                self = self.reload().await;
                rescan = Instant::now() + options.rescan;
            }
        }
    }

    async fn reload(mut self) -> Self {
        let work = move || {
            self.watcher.renew();
            self.folder.reload(SystemTime::now());
            self
        };
        let this = match tokio::task::spawn_blocking(work).await {
            Ok(this) => this,
            // Blocking tasks are not cancelled once they run, so this is a panic of the work.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let mut update = this.folder.current().clone();
        update.warnings.extend(this.watcher.trouble.clone());
        this.sender.send_if_modified(|current| {
            let changed =
                current.warnings != update.warnings || !Arc::ptr_eq(&current.snapshot, &update.snapshot);
            if changed {
                *current = update;
            }
            changed
        });
        this
    }
}

/// The kernel's watch on a folder, renewed when another folder takes its place.
struct FolderWatcher {
    dir: PathBuf,
    inner: Option<RecommendedWatcher>,
    watched: Option<(u64, u64)>,
    trouble: Option<Warning>,
}

impl FolderWatcher {
    fn new(dir: PathBuf, changed: &Arc<Notify>) -> Self {
        let changed = Arc::clone(changed);
        let folder = dir.clone();
        let inner = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_err() || event.is_ok_and(|event| matters(&event, &folder)) {
                changed.notify_one();
            }
        });
        let trouble = inner.as_ref().err().map(|error| unwatched(&dir, error));
        let mut this = Self { dir, inner: inner.ok(), watched: None, trouble };
        this.renew();
        this
    }

    /// Watches the folder that now stands at the path, if it is not the one watched already.
    fn renew(&mut self) {
        let dir = self.dir.as_path();
        let identity = fs::metadata(dir).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let Some(inner) = self.inner.as_mut().filter(|_| identity != self.watched) else { return };
        if self.watched.take().is_some() {
            // The kernel has dropped a watch on a deleted folder by itself.
            inner.unwatch(dir).unwrap_or_else(|error| tracing::debug!(%error, "no watch to end"));
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // Tells early that the folder is back; without it the rescan does.
            let watched = inner.watch(parent, RecursiveMode::NonRecursive);
            watched.unwrap_or_else(|error| tracing::debug!(%error, "the parent folder is not watched"));
        }
        if identity.is_some() {
            match inner.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => (self.watched, self.trouble) = (identity, None),
                Err(error) => self.trouble = Some(unwatched(dir, &error)),
            }
        }
    }
}

/// Reading a folder causes events too; those are not changes. Of the parent's entries only the
/// folder matters.
fn matters(event: &notify::Event, dir: &Path) -> bool {
    let access = matches!(event.kind, EventKind::Access(_));
    !access && (event.paths.is_empty() || event.paths.iter().any(|path| path.starts_with(dir)))
}

fn unwatched(dir: &Path, error: &notify::Error) -> Warning {
    let place = Place { file: dir.to_owned(), document: 0, line: 0 };
    let problem = format!("the folder cannot be watched ({error}); edits are seen at the next rescan");
    Warning { place: Some(place), object: None, field: String::new(), problem }
}
