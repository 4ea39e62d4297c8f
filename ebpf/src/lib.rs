//! The kernel programs' logic. It compiles for the BPF target and for the host, where tests,
//! property tests and fuzzers run on it without a kernel.
//!
//! `main.rs` holds the entry points; everything that touches a kernel context or a BPF map is in
//! the modules that exist for the BPF target only.

#![cfg_attr(target_arch = "bpf", no_std, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "packets, map values and contexts are raw memory")
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths and ports are cut on purpose; a checked conversion is one more branch for the verifier"
)]

mod answer;
mod arp;
mod cross;
mod fragment;
mod headers;
mod icmp;
mod packet;
mod pair;
pub mod sctp;
mod select;
pub mod socket;
mod start;
mod tables;
mod tcp;
mod translate;
mod tunnel;

pub use answer::{Answer, answer};
pub use arp::vouch as vouch_for_address;
pub use headers::{Headers, Part};
pub use icmp::Inner;
pub use packet::{Change, Packet, Room, Route, Way};
pub use pair::{Claim, attempt};
pub use select::Choice;
pub use start::{Plan, Started, flow as start_flow};
pub use tables::{FlowEntry, Flows, Tables};
pub use translate::{Stage, Verdict, deliver, translate, translate_icmp, translate_parsed};

#[cfg(target_arch = "bpf")]
mod fib;
#[cfg(target_arch = "bpf")]
mod flow_maps;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod skb;
#[cfg(target_arch = "bpf")]
mod sock_addr;
#[cfg(target_arch = "bpf")]
mod word;
#[cfg(target_arch = "bpf")]
mod xdp;

#[cfg(target_arch = "bpf")]
pub use flow_maps::{FlowV4, FlowV6, FlowsV4, FlowsV6};
#[cfg(target_arch = "bpf")]
pub use kernel::{EGRESS, GLOBAL, INGRESS, KernelTables, SOCKET, XDP, count, refuse};
#[cfg(target_arch = "bpf")]
pub use skb::SkbPacket;
#[cfg(target_arch = "bpf")]
pub use sock_addr::{SockAddr4, SockAddr6, released};
#[cfg(target_arch = "bpf")]
pub use xdp::XdpPacket;
