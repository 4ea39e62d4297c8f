//! Throwaway networks for the demo, the tests and the benchmarks.
//!
//! Everything here lives in network namespaces without a name, made by threads of the calling
//! process and kept by file descriptors: when the process ends, however it ends, the kernel takes
//! links, addresses and routes away. Nothing has a route out, and nothing outside a namespace is
//! changed except for the child cgroups of [`Cgroup`]. The only installed tool is `nft`, which writes
//! a node's firewall.
//!
//! - [`Namespace`], [`Veth`], [`Route`], [`Rule`]: the pieces. [`Node`] and [`Topology`]: a node
//!   with its pods, and the smallest useful network around it. [`TwoNodes`]: the layouts that real
//!   clusters have.
//! - [`NodeSettings`]: a node is hostile, with a firewall, strict reverse path filter, masquerading
//!   and offloads, unless a test says why it needs a gentle one.
//! - [`Cgroup`]: a child of the cgroup2 root. Membership is decided per process and read when a
//!   socket is created, so a program that shall be in it is started as a [`Job`].
//! - [`echo`], [`http`], [`load`], [`probe`]: servers and clients for real traffic. [`RawSocket`]: for
//!   frames that no socket sends.
//! - [`Agent`]: a `seaway agent` under the caller's control.

#![forbid(unsafe_code)]

mod agent;
mod cgroup;
pub mod echo;
mod error;
mod ethtool;
mod firewall;
pub mod http;
mod leftover;
mod link;
pub mod load;
mod mount;
mod namespace;
mod neighbour;
mod netlink;
mod node;
pub mod probe;
mod process;
mod raw_socket;
mod route;
mod server;
mod settings;
mod topology;
mod tunnel;
mod two_nodes;
mod veth;
mod worker;

pub use agent::{Agent, AgentOptions, AgentStatus};
pub use cgroup::Cgroup;
pub use error::Error;
pub use leftover::sweep;
pub use mount::{bpffs, mount_point};
pub use namespace::Namespace;
pub use node::{Node, Pod, PodLinks};
pub use process::Process;
pub use raw_socket::RawSocket;
pub use route::{Route, Rule};
pub use server::Server;
pub use settings::{Firewall, NodeSettings};
pub use topology::Topology;
pub use tunnel::{Vlan, Vxlan};
pub use two_nodes::{Layout, TwoNodes};
pub use veth::{End, Offload, Veth};
pub use worker::{Job, Launcher, Task, run_worker};
