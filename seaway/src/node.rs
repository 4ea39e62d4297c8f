//! Where an agent keeps its things, and which node it is on.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// The agent's places, shared by every command that looks at one.
#[derive(Clone, Debug, ClapArgs)]
#[group(skip)]
pub(crate) struct Places {
    /// Folder on a BPF file system for pinned maps and links.
    #[arg(long, value_name = "DIR", env = "SEAWAY_PIN_DIR", default_value = "/sys/fs/bpf/seaway")]
    pub(crate) pin_dir: PathBuf,
    /// Folder for the agent's status.
    #[arg(long, value_name = "DIR", env = "SEAWAY_RUN_DIR", default_value = "/run/seaway")]
    pub(crate) run_dir: PathBuf,
}

/// The given name, else the host's, as the kubelet does.
pub(crate) fn name(given: Option<&str>) -> String {
    let host = || host_name().to_lowercase();
    given.map_or_else(host, str::to_owned)
}

fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
