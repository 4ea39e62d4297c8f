//! A child cgroup of the cgroup2 root, for programs whose sockets shall be seen by hooks.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{Error, mount_point, sweep};

/// Processes that were killed leave a cgroup a moment later.
const REMOVE_WITHIN: Duration = Duration::from_secs(2);
const RETRY_EVERY: Duration = Duration::from_millis(10);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A cgroup named `seaway-<purpose>-<pid>-<n>`, removed on drop. It is empty until a process joins
/// it, which [`crate::Job::cgroup`] does before the program opens a socket.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one, after removing those of the same purpose whose processes are gone.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when no cgroup2 is mounted or none can be made there.
    pub fn new(purpose: &str) -> Result<Self, Error> {
        let root = Self::root()?;
        let prefix = format!("seaway-{purpose}-");
        sweep(&root, &prefix, |path| fs::remove_dir(path));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("{prefix}{}-{count}", process::id()));
        fs::create_dir(&path).map_err(|source| Error::Unsupported {
            what: format!("making the cgroup {}", path.display()),
            advice: "run as root, with cgroup2 mounted writable".into(),
            source: Some(source),
        })?;
        Ok(Self { path })
    }

    /// Where cgroup2 is mounted, wherever that is (hybrid layouts mount it beside version 1).
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it is not mounted.
    pub fn root() -> Result<PathBuf, Error> {
        mount_point("cgroup2").ok_or_else(|| Error::Unsupported {
            what: "making a cgroup".into(),
            advice: "mount cgroup2: mount -t cgroup2 none /sys/fs/cgroup".into(),
            source: None,
        })
    }

    /// The folder of the cgroup.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The processes in it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn processes(&self) -> Result<Vec<u32>, Error> {
        let list = fs::read_to_string(self.path.join("cgroup.procs"));
        let list = list.map_err(Error::system(format!("read the processes of {}", self.path.display())))?;
        Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
    }

    fn remove(&self) -> io::Result<()> {
        let deadline = Instant::now() + REMOVE_WITHIN;
        loop {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                    thread::sleep(RETRY_EVERY);
                }
                result => return result,
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("warning: cannot remove the cgroup {}: {error}", self.path.display());
        }
    }
}
