//! Where maps and links live between agents: a folder on a BPF file system.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, statfs};
use rustix::mount::{MountFlags, mount};

use crate::filters;

/// `BPF_FS_MAGIC` (linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The pin folder of one agent, and the exclusive right to it.
#[derive(Debug)]
pub struct Pins {
    folder: PathBuf,
    _lock: OwnedFd,
}

/// Why a pin folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another agent holds the lock.
    #[error("another agent is using {}; stop it first, or give this one another --pin-dir", .0.display())]
    Busy(PathBuf),
    /// The folder cannot be made or opened.
    #[error("pin folder {}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The folder is in another file system, which a mount would hide and whose files are not ours.
    #[error(
        "{} is no folder within a BPF file system; give --pin-dir one below /sys/fs/bpf, or mount one: \
         mount -t bpf bpf FOLDER", .0.display()
    )]
    NotBpf(PathBuf),
    /// There is no BPF file system and none can be mounted.
    #[error("cannot mount a BPF file system on {}", .folder.display())]
    Mount {
        /// Where it was tried.
        folder: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl Pins {
    /// Makes the folder, mounting a BPF file system on its parent where that is empty, and takes its
    /// lock until dropped.
    ///
    /// # Errors
    /// [`Error`]
    pub fn take(folder: &Path) -> Result<Self, Error> {
        let wrong = |source: io::Error| Error::Folder { folder: folder.to_owned(), source };
        let parent = folder.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(wrong)?;
        ensure_bpffs(parent, folder)?;
        fs::create_dir_all(folder.join("maps")).map_err(wrong)?;
        fs::create_dir_all(folder.join("links")).map_err(wrong)?;
        // A lock on the folder itself: the BPF file system holds no plain files, and the lock
        // goes with its holder however that ends.
        let lock = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| wrong(e.into()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|e| match e {
            rustix::io::Errno::WOULDBLOCK => Error::Busy(folder.to_owned()),
            other => wrong(other.into()),
        })?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// Folder of the pinned maps.
    pub fn maps(&self) -> PathBuf {
        maps(&self.folder)
    }

    /// Folder of the pinned links.
    pub fn links(&self) -> PathBuf {
        links(&self.folder)
    }

    /// Whether a program of this or an earlier agent is attached.
    pub fn are_at_work(&self) -> bool {
        are_at_work(&self.folder)
    }

    /// Removes every pin and the folder: programs without a link are detached and freed. What somebody
    /// else put into the folder stays, and the folder with it.
    ///
    /// # Errors
    /// [`Error::Folder`]
    pub fn remove(self) -> Result<(), Error> {
        let wrong = |source| Error::Folder { folder: self.folder.clone(), source };
        for link in files_in(&self.links()).map_err(wrong)? {
            filters::detach(&link).map_err(wrong)?;
        }
        for map in files_in(&self.maps()).map_err(wrong)? {
            fs::remove_file(map).map_err(wrong)?;
        }
        for own in [self.links(), self.maps(), self.folder.clone()] {
            match fs::remove_dir(own) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(wrong)?,
            }
        }
        Ok(())
    }
}

/// The pins in a folder, which somebody may have removed by hand.
fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    Ok(paths.collect::<io::Result<Vec<_>>>()?.into_iter().filter(|path| !path.is_dir()).collect())
}

/// Folder of the pinned maps within a pin folder.
pub fn maps(folder: &Path) -> PathBuf {
    folder.join("maps")
}

/// Folder of the pinned links within a pin folder.
pub fn links(folder: &Path) -> PathBuf {
    folder.join("links")
}

/// Whether an agent, now or before, has programs attached by pins here.
pub fn are_at_work(folder: &Path) -> bool {
    fs::read_dir(links(folder)).is_ok_and(|mut links| links.next().is_some())
}

/// Whether an agent, now or before, has pins here.
pub fn exist(folder: &Path) -> bool {
    maps(folder).is_dir() && links(folder).is_dir() && is_bpffs(folder).unwrap_or(false)
}

/// Whether an agent holds the folder's lock.
pub fn in_use(folder: &Path) -> bool {
    let Ok(file) = File::open(folder) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

/// Mounts one on the parent of a pin folder only where that hides nothing.
fn ensure_bpffs(parent: &Path, folder: &Path) -> Result<(), Error> {
    let wrong = |source: io::Error| Error::Mount { folder: parent.to_owned(), source };
    if is_bpffs(parent).map_err(wrong)? {
        return Ok(());
    }
    if fs::read_dir(parent).map_err(wrong)?.next().is_some() {
        return Err(Error::NotBpf(folder.to_owned()));
    }
    mount("bpf", parent, "bpf", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .map_err(|e| wrong(e.into()))
}

fn is_bpffs(folder: &Path) -> io::Result<bool> {
    let found = statfs(folder)?;
    Ok(u64::try_from(found.f_type).is_ok_and(|magic| magic == BPF_FS_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_file_system_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let precious = place.path().join("links/precious");
        fs::create_dir(place.path().join("links")).unwrap();
        fs::write(&precious, "text").unwrap();
        for folder in [place.path().join("pins"), place.path().join("links"), "/".into()] {
            let taken = Pins::take(&folder);
            assert!(matches!(&taken, Err(Error::NotBpf(named)) if *named == folder), "{taken:?}");
            assert!(!exist(&folder));
        }
        assert_eq!(fs::read_to_string(precious).unwrap(), "text");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
