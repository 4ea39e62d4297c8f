//! The kernel's word that a folder changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::{Place, Warning};

/// The kernel's watch on a folder, renewed when another folder takes its place.
pub(super) struct FolderWatcher {
    dir: PathBuf,
    inner: Option<RecommendedWatcher>,
    watched: Option<(u64, u64)>,
    /// Why the folder is not watched.
    pub(super) trouble: Option<Warning>,
}

impl FolderWatcher {
    /// Begins to watch; each change of the folder wakes `changed`.
    pub(super) fn new(dir: &Path, changed: &Arc<Notify>) -> Self {
        let changed = Arc::clone(changed);
        // The kernel's events carry absolute paths.
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
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
    pub(super) fn renew(&mut self) {
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
    let problem = format!("the folder cannot be watched ({error}); edits are seen at the next rescan");
    Warning::of_place(Place::whole(dir), problem)
}
