//! What a running agent says of itself, in a file that other commands read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::node_interfaces::Choice;
use crate::probe::Probe;
use crate::site::Settings;

/// The file's name in the run folder.
pub const FILE: &str = "status.json";

/// What a running agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Process id.
    pub pid: u32,
    /// Version of the build.
    pub version: String,
    /// The first full set of facts is in the maps, and the programs are attached.
    pub ready: bool,
    /// Snapshots applied since the agent started.
    pub revision: u64,
    /// When the last one was applied, milliseconds since the epoch.
    pub synced_at_ms: u64,
    /// Service ports in the maps, counted by family.
    pub services: usize,
    /// Frontends in the maps.
    pub frontends: usize,
    /// Backends in the maps.
    pub backends: usize,
    /// This node's name.
    pub node: String,
    /// The folder of manifests, if that is the source.
    pub manifests: Option<PathBuf>,
    /// How to reach the API server, if not as a pod of the cluster does.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// What it knows of the node.
    #[serde(default)]
    pub settings: Settings,
    /// Interfaces with the XDP program.
    pub interfaces: Vec<String>,
    /// The cgroup with the socket hooks.
    pub cgroup: Option<PathBuf>,
    /// What the kernel offers.
    pub probe: Probe,
    /// What is wrong now, a line each.
    pub warnings: Vec<String>,
    /// The last change failed like this and will be tried again.
    pub error: Option<String>,
    /// What each interface is taken for, and why.
    #[serde(default)]
    pub interface_choices: Vec<Choice>,
}

impl Status {
    /// Writes the file as a whole: a reader sees the old one or the new one.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let fresh = folder.join(format!("{FILE}.{}", self.pid));
        fs::write(&fresh, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&fresh, folder.join(FILE))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// The file system's; [`io::ErrorKind::InvalidData`] for a file of another shape.
    pub fn read(folder: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(folder.join(FILE))?)?)
    }

    /// Removes the file.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(folder: &Path) -> io::Result<()> {
        fs::remove_file(folder.join(FILE))
    }

    /// Where the facts come from, for people.
    pub fn source(&self) -> String {
        match (&self.manifests, &self.kubeconfig) {
            (Some(folder), _) => folder.display().to_string(),
            (None, Some(file)) => format!("the API server, as {} says", file.display()),
            (None, None) => "the API server of this cluster".to_owned(),
        }
    }

    /// Whether the process that wrote the file still runs.
    pub fn alive(&self) -> bool {
        Path::new("/proc").join(self.pid.to_string()).exists()
    }
}
