//! Where file systems are mounted.

use std::{
    fs,
    path::{Path, PathBuf},
};

const BPFFS: &str = "/sys/fs/bpf";

/// Where a file system of this type is mounted first, for instance `cgroup2`.
#[must_use]
pub fn mount_point(kind: &str) -> Option<PathBuf> {
    find_mount(&fs::read_to_string("/proc/self/mountinfo").ok()?, kind)
}

/// Where the BPF file system is mounted, otherwise where it belongs.
#[must_use]
pub fn bpffs() -> PathBuf {
    mount_point("bpf").unwrap_or_else(|| Path::new(BPFFS).to_owned())
}

/// The first mount point of a file system type in the text of `/proc/self/mountinfo`
/// (proc_pid_mountinfo(5): the mount point is field 5, the type follows a lone dash).
fn find_mount(mountinfo: &str, kind: &str) -> Option<PathBuf> {
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
    fn mount_is_found_in_every_layout() {
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
