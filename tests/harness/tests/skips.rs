//! A privileged test that cannot run is counted, and can be forbidden to skip.

#![forbid(unsafe_code)]

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output},
    sync::{Mutex, PoisonError},
};

use seaway_harness::privileged;

const NOBODY: u32 = 65534;

/// Runs the test below without root, whoever runs this one.
fn run_unprivileged(log: &Path, deny: &str) -> Output {
    // One at a time: a program that is being written cannot be run, and a child that another thread
    // forks meanwhile holds it open for writing until it has become another program.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A copy, because the folders above the test program may be closed to others.
    let program = log.with_file_name("program");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", "needs_root", "--test-threads=2"]).current_dir("/");
    command.env("SEAWAY_SKIP_LOG", log).env("SEAWAY_DENY_SKIPS", deny);
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY);
    }
    command.output().unwrap()
}

#[test]
fn needs_root() {
    privileged!();
    assert!(nix::unistd::geteuid().is_root());
}

#[test]
fn skipped_test_is_logged_and_said_aloud() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let log = folder.path().join("skips");
    let output = run_unprivileged(&log, "0");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(&log).unwrap(), "skips::needs_root: needs root\n");
    let aloud = String::from_utf8(output.stderr).unwrap();
    assert!(aloud.contains("skipped: skips::needs_root: needs root\n"), "{aloud}");
}

#[test]
fn denied_skip_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let log = folder.path().join("skips");
    let output = run_unprivileged(&log, "1");
    assert!(!output.status.success(), "{output:?}");
    assert!(!log.exists());
}
