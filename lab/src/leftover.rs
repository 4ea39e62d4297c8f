//! What a killed process left behind, found by the process id in its name.

use std::{ffi::OsStr, fs, io, path::Path};

/// Removes from `folder` what is called `<prefix><pid>` or `<prefix><pid>-…` with a process id
/// that is no longer in use, by calling `remove`. A missing folder holds no leftovers; what cannot
/// be removed stays for the next time.
pub fn sweep(folder: &Path, prefix: &str, remove: impl Fn(&Path) -> io::Result<()>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_leftover = owner(&entry.file_name(), prefix).is_some_and(|pid| !is_alive(pid));
        if is_leftover {
            remove(&entry.path()).ok();
        }
    }
}

/// The process id in a name.
fn owner(name: &OsStr, prefix: &str) -> Option<u32> {
    let rest = name.to_str()?.strip_prefix(prefix)?;
    rest.split('-').next()?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_the_number_right_after_the_prefix() {
        let check =
            |name: &str, expected| assert_eq!(owner(name.as_ref(), "seaway-demo-"), expected, "{name}");
        check("seaway-demo-17", Some(17));
        check("seaway-demo-17-0", Some(17));
        check("seaway-demo-17-aB3", Some(17));
        check("seaway-demo-x17", None);
        check("seaway-demo-", None);
        check("seaway-test-17-0", None);
    }

    #[test]
    fn only_what_dead_processes_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        // Above the kernel's largest process id (2^22).
        let dead = folder.path().join("seaway-demo-4194305-0");
        let alive = folder.path().join(format!("seaway-demo-{}-0", std::process::id()));
        fs::create_dir(&dead).unwrap();
        fs::create_dir(&alive).unwrap();
        sweep(folder.path(), "seaway-demo-", |path| fs::remove_dir(path));
        assert!(!dead.exists());
        assert!(alive.exists());
    }
}
