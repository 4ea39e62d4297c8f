//! Cluster DNS: names to answers.
//!
//! ```text
//! Snapshot ── Builder ──▶ Index ─┐
//!                                ├─ zone::answer ──▶ octets
//! octets ── Query::read ─────────┘
//! ```

#![forbid(unsafe_code)]

pub mod block;
pub mod cache;
pub mod compat;
pub mod corefile;
pub mod engine;
pub mod explain;
pub mod feed;
pub mod forward;
pub mod index;
pub mod metrics;
pub mod name;
pub mod options;
pub mod plugin;
pub mod record;
pub mod selector;
pub mod server;
pub mod tls;
pub mod wire;
pub mod zone;
pub mod zonefile;
