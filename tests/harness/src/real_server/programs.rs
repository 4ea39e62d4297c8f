//! Programs of others, run for a test.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where the programs of a test environment are, as other tools have it too.
const FOLDER: &str = "KUBEBUILDER_ASSETS";

/// A program, its arguments and its log.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
}

/// A process; it is killed on drop.
#[derive(Debug)]
pub(super) struct Running {
    process: Child,
    log: PathBuf,
}

/// The paths of these programs, if all of them are in one place.
pub(super) fn find<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::var_os(FOLDER).map(PathBuf::from).into_iter().chain(env::split_paths(&path));
    let folder = folders.find(|folder| names.iter().all(|name| folder.join(name).is_file()))?;
    Some(names.map(|name| folder.join(name)))
}

impl Program {
    pub(super) fn new(path: PathBuf, folder: &Path, name: &str) -> Self {
        Self { path, arguments: Vec::new(), log: folder.join(format!("{name}.log")) }
    }

    #[must_use]
    pub(super) fn arguments(mut self, arguments: impl IntoIterator<Item = String>) -> Self {
        self.arguments.extend(arguments);
        self
    }

    pub(super) fn start(&self) -> Running {
        let log = File::create(&self.log).unwrap_or_else(|error| panic!("{}: {error}", self.log.display()));
        let errors = log.try_clone().expect("another handle of a file");
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
        let process = command.spawn();
        let process = process.unwrap_or_else(|error| panic!("cannot start {}: {error}", self.path.display()));
        Running { process, log: self.log.clone() }
    }
}

impl Running {
    /// Panics with the end of its log if it ended by itself.
    pub(super) fn check(&mut self) {
        if let Ok(Some(status)) = self.process.try_wait() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            panic!("{} ended with {status}:\n{last}", self.log.display());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
