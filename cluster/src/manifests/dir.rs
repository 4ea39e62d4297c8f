//! A manifest folder on disk: which files changed, and what holds now.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use super::decode::{Contents, contents};
use super::files::Files;
use super::reading::Reading;
use super::{Error, Update};
use crate::{Place, Snapshot, Warning};

/// Threads that read a folder for the first time, and files that each of them decodes before what was found
/// is taken in.
const THREADS_MAX: usize = 8;
const WAVE: usize = 8;

/// A folder of manifests with the state that is in force.
#[derive(Debug)]
pub struct ManifestDir {
    dir: PathBuf,
    files: Files,
    seen: BTreeMap<PathBuf, Reading>,
    update: Update,
    /// A file changed since the snapshot was made, or the snapshot was kept for want of a better one.
    stale: bool,
}

impl ManifestDir {
    /// Reads the folder for the first time.
    ///
    /// # Errors
    /// If the folder cannot be listed, or no object can be read from it.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        let update = Update::default();
        let mut this = Self { dir, files: Files::default(), seen: BTreeMap::new(), update, stale: true };
        let names = match this.list() {
            Ok(names) => names,
            Err(source) => return Err(Error::Folder { dir: this.dir, source }),
        };
        if names.is_empty() {
            return Err(Error::NoManifests { dir: this.dir });
        }
        this.read(&names, SystemTime::now());
        let (snapshot, warnings) = this.files.merge();
        if snapshot.is_empty() {
            return Err(Error::NoObjects { dir: this.dir, warnings });
        }
        this.put_in_force(snapshot, warnings);
        Ok(this)
    }

    /// Reads the folder once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn load(dir: impl Into<PathBuf>) -> Result<(Snapshot, Vec<Warning>), Error> {
        let Update { snapshot, warnings, .. } = Self::open(dir)?.update;
        Ok((Arc::unwrap_or_clone(snapshot), warnings.to_vec()))
    }

    /// The folder, as it was named.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// What holds now.
    pub fn current(&self) -> &Update {
        &self.update
    }

    /// Reads what has changed since; returns whether anything did, warnings included. Objects that
    /// did not change keep their `Arc`. `now` is the time at which the files are read.
    pub fn reload(&mut self, now: SystemTime) -> bool {
        let before = self.update.clone();
        match self.list() {
            Err(error) => self.keep(&format!("cannot be listed ({error})")),
            Ok(names) if names.is_empty() => self.keep("holds no manifest any more"),
            Ok(names) => {
                self.read(&names, now);
                if !self.stale {
                    return false;
                }
                let (snapshot, warnings) = self.files.merge();
                if snapshot.is_empty() {
                    self.update.warnings = warnings.into();
                    self.keep("holds no object any more");
                } else {
                    self.put_in_force(snapshot, warnings);
                }
            }
        }
        !self.update.same(&before)
    }

    fn put_in_force(&mut self, mut snapshot: Snapshot, warnings: Vec<Warning>) {
        snapshot.imply_namespaces();
        snapshot.share_with(&self.update.snapshot);
        if snapshot != *self.update.snapshot {
            self.update.snapshot = Arc::new(snapshot);
        }
        self.update.warnings = warnings.into();
        self.stale = false;
    }

    /// Leaves the snapshot in force and says why.
    fn keep(&mut self, problem: &str) {
        self.stale = true;
        let place = Place::whole(&self.dir);
        let problem = format!("the folder {problem}; the last snapshot stays in force");
        let others = self.update.warnings.iter().filter(|warning| warning.place.as_ref() != Some(&place));
        let mut warnings: Vec<Warning> = others.cloned().collect();
        warnings.push(Warning::of_place(place, problem));
        warnings.sort();
        self.update.warnings = warnings.into();
    }

    /// The manifests of the folder, in order.
    fn list(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let path = self.dir.join(&name);
            let hidden = name.as_encoded_bytes().starts_with(b".");
            let extension = path.extension().and_then(|extension| extension.to_str());
            if !hidden && matches!(extension, Some("yaml" | "yml" | "json")) && !path.is_dir() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn read(&mut self, names: &[PathBuf], now: SystemTime) {
        // All of them are new the first time only: later, few are, and threads are not worth it.
        let threads = if self.seen.is_empty() { cores() } else { 1 };
        let mut present = Vec::with_capacity(names.len());
        for wave in names.chunks(threads * WAVE) {
            let look = |file: &PathBuf| look(file, self.seen.get(file), now);
            let found = side_by_side(wave, threads, &look);
            let gone = wave.iter().zip(found).map(|(file, found)| self.is_gone(file, found));
            let gone: Vec<bool> = gone.collect();
            // One that went away since it was listed counts as gone.
            present.extend(wave.iter().zip(gone).filter(|(_, gone)| !gone).map(|(file, _)| file.clone()));
        }
        self.stale |=
            self.files.retain(|file| present.binary_search_by(|name| name.as_path().cmp(file)).is_ok());
        self.seen.retain(|file, _| present.binary_search(file).is_ok());
    }

    /// Takes in what was found of a file, and says whether it is gone.
    fn is_gone(&mut self, file: &Path, found: io::Result<Option<Found>>) -> bool {
        match found {
            Ok(None) => false,
            Ok(Some(Found { reading, contents })) => {
                self.seen.insert(file.to_owned(), reading);
                if let Some(contents) = contents {
                    self.files.put(file, contents);
                    self.stale = true;
                }
                false
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !file.is_symlink() => true,
            Err(error) => {
                self.seen.remove(file);
                self.stale = true;
                self.files.fail(file, &format!("cannot be read ({error})"));
                false
            }
        }
    }
}

/// What a file that may have changed holds.
struct Found {
    reading: Reading,
    /// Unless it is the text from before.
    contents: Option<Contents>,
}

/// Reads a file, unless it is sure to be what it was before.
fn look(file: &Path, before: Option<&Reading>, now: SystemTime) -> io::Result<Option<Found>> {
    let Some((text, reading)) = Reading::of(file, before, now)? else { return Ok(None) };
    let changed = before.is_none_or(|before| !before.same_text(&reading));
    Ok(Some(Found { reading, contents: changed.then(|| contents(file, &text)) }))
}

/// Does the work for all items on so many threads, and returns what came out in the items' order.
fn side_by_side<T: Sync, R: Send>(items: &[T], threads: usize, work: &(impl Fn(&T) -> R + Sync)) -> Vec<R> {
    if threads < 2 || items.len() < 2 {
        return items.iter().map(work).collect();
    }
    let share = items.len().div_ceil(threads);
    thread::scope(|scope| {
        let start = |part| scope.spawn(move || -> Vec<R> { <[T]>::iter(part).map(work).collect() });
        let running: Vec<_> = items.chunks(share).map(start).collect();
        let done =
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        done.flatten().collect()
    })
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}
