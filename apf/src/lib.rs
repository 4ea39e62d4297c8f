//! API Priority and Fairness for any server.
//!
//! A server has a number of seats. Requests are classified by FlowSchemas into priority levels, each with a
//! share of the seats, and within a level into flows. A flow that floods the server fills the few queues
//! dealt to it; the others are served from theirs, in turn. This is what kube-apiserver does to its clients,
//! without the Kubernetes: the objects are plain types that read the API's YAML and JSON.
//!
//! Where to start:
//!
//! * with tower or axum: `layer::FlowControlLayer` (feature `tower`);
//! * with tokio: `control::FlowControl`, whose `acquire` gives a permit (feature `async`, on by default);
//! * with a clock of your own, as the simulator does: [`engine::Engine`];
//! * for one queue set alone: [`queueset::QueueSet`].
//!
//! How a request goes:
//!
//! ```text
//! request::RequestInfo ── classify::Classifier ── estimate::work ── flow::hash
//!                                                                      │
//!          metrics, dump ◄── level::Level ◄── queueset::QueueSet ◄── deal::Dealer
//!                                 ▲
//!              limits ── borrow ──┘ every ten seconds, and at once for a level in need
//! ```
//!
//! What holds: no operation of the core reads a clock, draws a random number or blocks; a request that was
//! accepted ends exactly once; seats in use are the sum of what requests hold; memory is bounded by the
//! configuration, not by the number of flows. [`behaviour::Behaviour`] lists where the library does better
//! than kube-apiserver; `Behaviour::PARITY` turns all of that off.

#![forbid(unsafe_code)]

pub mod allocate;
pub mod behaviour;
pub mod borrow;
pub mod builtin;
pub mod classify;
#[cfg(feature = "async")]
pub mod control;
pub mod dangling;
pub mod deal;
pub mod defaults;
pub mod demand;
pub mod dump;
pub mod engine;
pub mod estimate;
pub mod flow;
#[cfg(any(feature = "async", loom))]
pub mod handoff;
pub mod headers;
#[cfg(feature = "tower")]
pub mod layer;
pub mod level;
pub mod limits;
pub mod matching;
pub mod metrics;
mod number;
pub mod object;
pub mod objects;
pub mod queueset;
pub mod read;
pub mod readwrite;
pub mod request;
pub mod retry;
pub mod seats;
pub mod topk;
pub mod upkeep;
pub mod validate;
pub mod wait;
pub mod watches;
