//! Tests that need root: they run, or say that they did not.
//!
//! A skipped test passes as far as the test runner is concerned. So that nobody takes that for a
//! result, it says so on standard error past the runner's capture, adds a line to the file named
//! by `SEAWAY_SKIP_LOG`, and fails where `SEAWAY_DENY_SKIPS=1` says that nothing may be skipped.

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write},
    thread,
};

use seaway_lab::{Cgroup, Namespace};

/// Whether `test` can run here: as root, with network namespaces and cgroup2. If not, it is
/// counted as skipped.
///
/// # Panics
/// When it cannot run and `SEAWAY_DENY_SKIPS=1`.
#[must_use]
pub fn require_root(test: &str) -> bool {
    match missing() {
        None => true,
        Some(reason) => {
            skip(test, &reason);
            false
        }
    }
}

/// Counts `test` as skipped for `reason`, for instance a kernel feature that only it needs. The
/// test has to return then.
///
/// # Panics
/// When `SEAWAY_DENY_SKIPS=1`, or the file named by `SEAWAY_SKIP_LOG` cannot be written.
pub fn skip(test: &str, reason: &str) {
    assert!(env::var_os("SEAWAY_DENY_SKIPS").is_none_or(|deny| deny != "1"), "{test} cannot run: {reason}");
    // Not eprintln, which the test runner captures.
    writeln!(io::stderr(), "skipped: {test}: {reason}").ok();
    if let Some(path) = env::var_os("SEAWAY_SKIP_LOG") {
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let written = log.and_then(|mut log| log.write_all(format!("{test}: {reason}\n").as_bytes()));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}

/// The running test's name: the test runner calls the thread so, unless there is only one.
#[must_use]
pub fn test_name(module: &str) -> String {
    match thread::current().name() {
        Some(name) if name != "main" => format!("{module}::{name}"),
        _ => module.to_owned(),
    }
}

fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".into());
    }
    let namespace = Namespace::new("check").err();
    namespace.or_else(|| Cgroup::root().err()).map(|error| error.to_string())
}
