//! Throwaway networks for the demo, the tests and the benchmarks.
//!
//! Everything here lives in network namespaces without a name, made by threads of the calling
//! process and kept by file descriptors: when the process ends, however it ends, the kernel takes
//! links, addresses and routes away. Nothing has a route out, no installed tool is called, and
//! nothing outside a namespace is changed except for the child cgroups of [`Cgroup`].
//!
//! - [`Namespace`], [`Veth`], [`Route`], [`Rule`]: the pieces. [`Node`] and [`Topology`]: a node
//!   with routed pods, and the smallest useful network around it.
//! - [`Cgroup`]: a child of the cgroup2 root. Membership is decided per process and read when a
//!   socket is created, so a program that shall be in it is started as a [`Job`].
//! - [`echo`], [`http`], [`load`]: servers and clients for real traffic.
//! - [`Agent`]: a `seaway agent` under the caller's control.

#![forbid(unsafe_code)]

mod agent;
mod cgroup;
pub mod echo;
mod error;
mod ethtool;
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
mod route;
mod server;
mod topology;
mod veth;
mod worker;

pub use agent::{Agent, AgentOptions, AgentStatus};
pub use cgroup::Cgroup;
pub use error::Error;
pub use leftover::sweep;
pub use mount::{bpffs, mount_point};
pub use namespace::Namespace;
pub use node::{Node, Pod};
pub use process::Process;
pub use route::{Route, Rule};
pub use server::Server;
pub use topology::Topology;
pub use veth::{End, Offload, Veth};
pub use worker::{Job, Launcher, Task, run_worker};
