//! What an agent is told, and what it says about itself.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The flags of `seaway agent`.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// The folder of manifests it watches.
    pub manifests: PathBuf,
    /// Watch the API server that this file leads to, instead of the folder.
    pub kubeconfig: Option<PathBuf>,
    /// The interfaces it attaches to.
    pub interfaces: Vec<String>,
    /// The cgroup whose sockets it translates. Always given: the agent's default is the root.
    pub cgroup: PathBuf,
    /// Where it pins maps and links.
    pub pin_dir: PathBuf,
    /// Where it writes its status.
    pub run_dir: PathBuf,
    /// Further flags.
    pub arguments: Vec<String>,
}

/// What an agent says about itself in `status.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AgentStatus {
    /// Its process id.
    pub pid: u32,
    /// The first snapshot is in force.
    pub ready: bool,
    /// Snapshots applied since the process started; the first is 1.
    pub revision: u64,
    /// Services in the last snapshot.
    pub services: u64,
    /// Backends in the last snapshot.
    pub backends: u64,
    /// What could not be applied, and why.
    pub warnings: Vec<String>,
}

impl AgentOptions {
    /// The command line of the agent, without the program.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<String> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let (flag, source) = match &self.kubeconfig {
            Some(file) => ("--kubeconfig", file),
            None => ("--manifests", &self.manifests),
        };
        let mut arguments = vec!["agent".to_owned(), flag.into(), path(source)];
        arguments.extend(self.interfaces.iter().flat_map(|name| ["--interface".into(), name.clone()]));
        arguments.extend(["--cgroup".into(), path(&self.cgroup)]);
        arguments.extend(["--pin-dir".into(), path(&self.pin_dir), "--run-dir".into(), path(&self.run_dir)]);
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }
}
