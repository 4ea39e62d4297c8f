//! The flags of `seaway agent`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::interfaces::{AUTO, Interfaces};
use super::{capacity, node_dns, servers, traffic};
use crate::facts;
use crate::logging;
use crate::node::Places;

/// `seaway agent`
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Args {
    /// Take flags that are not given here or in the environment from this file: a YAML mapping of
    /// their long names, without the dashes, to values.
    #[arg(long, value_name = "FILE", env = "SEAWAY_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) facts: facts::Args,
    /// Translate packets that arrive on this interface (repeatable). `auto`: every interface that has the
    /// node's addresses or its routes out, tunnels included; `seaway status` lists them. `eth*`: every
    /// interface of such a name, also those that appear later. `none`: no interface.
    #[arg(
        long = "interface",
        value_name = "IF",
        env = "SEAWAY_INTERFACES",
        value_delimiter = ',',
        default_value = AUTO
    )]
    interfaces: Vec<String>,
    /// Translate connects of processes in this cgroup (version 2) and below.
    #[arg(long, value_name = "PATH", env = "SEAWAY_CGROUP")]
    pub(super) cgroup: Option<PathBuf>,
    /// This node's name in the cluster or the manifests (default: the host name).
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub(super) node_name: Option<String>,
    #[command(flatten)]
    pub(super) traffic: traffic::Args,
    #[command(flatten)]
    pub(super) places: Places,
    /// Take everything out of the kernel: at once without `--manifests` or `--kubeconfig`, else when
    /// the agent ends.
    #[arg(long)]
    pub(super) cleanup: bool,
    #[command(flatten)]
    pub(super) capacity: capacity::Args,
    #[command(flatten)]
    pub(super) dns: node_dns::Args,
    #[command(flatten)]
    pub(super) servers: servers::Args,
    #[command(flatten)]
    pub(super) log: logging::Args,
}

impl Args {
    /// What `--interface` asks for.
    pub(super) fn interfaces(&self) -> Result<Interfaces> {
        Interfaces::parse("--interface", &self.interfaces)
    }
}
