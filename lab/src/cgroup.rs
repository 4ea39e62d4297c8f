//! A child cgroup of the cgroup2 root, for programs whose sockets shall be seen by hooks.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{Error, sweep};

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
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").map_err(Error::system("read the list of mounts"))?;
        find_mount(&mounts, "cgroup2").ok_or_else(|| Error::Unsupported {
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

/// The first mount point of a file system type in the text of `/proc/self/mountinfo`
/// (proc_pid_mountinfo(5): the mount point is field 5, the type follows a lone dash).
pub(crate) fn find_mount(mountinfo: &str, kind: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        (system.split(' ').next() == Some(kind)).then(|| unescape(point).into())
    })
}

/// Blank, tab, newline and backslash are written as octal numbers.
fn unescape(path: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(path.to_owned(), |path, (escape, plain)| path.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_in_every_layout() {
        let check = |mounts: &str, expected: Option<&str>| {
            assert_eq!(find_mount(mounts, "cgroup2"), expected.map(PathBuf::from), "{mounts}");
        };
        check("29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw", Some("/sys/fs/cgroup"));
        check(
            "31 0 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
            Some("/sys/fs/cgroup/unified"),
        );
        check("41 31 0:38 / /mnt/two\\040words rw - cgroup2 none rw", Some("/mnt/two words"));
        check("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu", None);
        check("", None);
    }
}
