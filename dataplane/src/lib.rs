//! From facts to BPF maps, and the programs that read them.
//!
//! ```text
//! Snapshot ─ desired ─► Desired ─ plan ─► [Step] ─ apply ─► Maps ◄─ programs
//!                                  ▲                         │
//!                              Installed ◄──────── read ─────┘
//! ```
//!
//! `desired` and `plan` are pure. Only `Maps` touches the kernel. [`Installed`] is what the maps
//! hold, kept beside them step by step, and read back from them after a restart or a failure.

pub mod attach;
pub mod batch;
pub mod collector;
pub mod counters;
pub mod dead_sockets;
pub mod desired;
pub mod devices;
pub mod explain;
pub mod feeder;
mod flow_counts;
pub mod flows;
pub mod health;
pub mod installed;
pub mod kernel_maps;
pub mod kube_proxy;
pub mod links;
pub mod maglev;
pub mod maps;
pub mod metrics;
pub mod netns;
pub mod next_hops;
pub mod node_interfaces;
pub mod object;
pub mod pins;
pub mod plan;
pub mod pod_network;
pub mod policy;
pub mod port_tries;
pub mod preferences;
pub mod probe;
pub mod programs;
pub mod reserve;
pub mod route_generation;
pub mod site;
pub mod space;
pub mod stand_in;
pub mod status;
pub mod sync;
pub mod usage;

mod bpf;
mod filters;
mod mapped;
mod neighbours;
mod netdev;
mod netlink;
mod raw;

pub use desired::{Desired, Port, PortKey, Target};
pub use installed::Installed;
pub use maps::Maps;
pub use plan::Step;
pub use site::Site;
