//! Fair queues between the users of a server: API Priority and Fairness for any Rust service.
//!
//! A server has a number of seats. Requests are classified by FlowSchemas into priority levels, each with a
//! share of the seats, and within a level into flows. A flow that floods the server fills the few queues
//! dealt to it; the others are served from theirs, in turn. This is what kube-apiserver does to its clients,
//! without the Kubernetes: the objects are plain types that read the API's YAML and JSON.
//!
//! ```
//! use seaway_apf::{Attributes, Configuration, FlowControl, Settings};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let control = FlowControl::new(Settings::default().seats(20));
//! control.configure(&Configuration::by_user());
//!
//! let permit = control.acquire(Attributes::user("ann").does("resize", "/images/42")).await?;
//! // Do the work, then:
//! drop(permit);
//! # Ok::<(), seaway_apf::Refusal>(()) }).unwrap();
//! ```
//!
//! # What to use
//!
//! * HTTP and gRPC, with tower, axum, tonic or hyper: [`layer::FlowControlLayer`] (feature `tower`);
//! * anything else that runs on tokio: [`FlowControl::acquire`] gives a [`Permit`] (feature `async`, on by default);
//! * no tokio, or a clock of your own: [`engine::Engine`].
//!
//! Feature `yaml` (on by default) reads configuration in YAML beside JSON; feature `tracing` adds an event to
//! the span of each request.
//!
//! # How a request goes
//!
//! ```text
//! request::RequestInfo ── classify::Classifier ── estimate::work ── flow::hash
//!                                                                      │
//!          metrics, dump ◄── level::Level ◄── queueset::QueueSet ◄── deal::Dealer
//!                                 ▲
//!              limits ── borrow ──┘ every ten seconds, and at once for a level in need
//! ```
//!
//! No operation of the core reads a clock, draws a random number or blocks; a request that was accepted ends
//! exactly once; seats in use are the sum of what requests hold; memory is bounded by the configuration, not
//! by the number of flows. [`behaviour::Behaviour`] lists where the library does better than kube-apiserver;
//! `Behaviour::PARITY` turns all of that off.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adaptive;
pub mod annotations;
pub mod behaviour;
#[cfg(feature = "async")]
pub mod control;
pub mod dump;
pub mod engine;
pub mod headers;
#[cfg(feature = "tower")]
pub mod layer;
pub mod metrics;
pub mod object;
pub mod read;
pub mod request;
pub mod seats;
pub mod validate;

mod lock;
mod number;
mod refusal;
mod settings;

#[cfg(feature = "async")]
pub use control::{FlowControl, Permit};
pub use read::Configuration;
pub use refusal::Refusal;
pub use request::{Attributes, RequestInfo};
pub use settings::Settings;

// The parts of the machine. The simulator, the benchmarks and the vectors of kube-apiserver drive them one
// by one; they are no part of what the version number promises.
#[doc(hidden)]
pub mod allocate;
#[doc(hidden)]
pub mod borrow;
#[doc(hidden)]
pub mod builtin;
#[doc(hidden)]
pub mod classify;
#[doc(hidden)]
pub mod dangling;
#[doc(hidden)]
pub mod deal;
#[doc(hidden)]
pub mod defaults;
#[doc(hidden)]
pub mod demand;
#[doc(hidden)]
pub mod estimate;
#[doc(hidden)]
pub mod flow;
#[cfg(any(feature = "async", loom))]
#[doc(hidden)]
pub mod handoff;
#[doc(hidden)]
pub mod level;
#[doc(hidden)]
pub mod limits;
#[doc(hidden)]
pub mod matching;
#[doc(hidden)]
pub mod objects;
#[doc(hidden)]
pub mod queueset;
#[doc(hidden)]
pub mod readwrite;
#[doc(hidden)]
pub mod retry;
#[doc(hidden)]
pub mod topk;
#[doc(hidden)]
pub mod upkeep;
#[doc(hidden)]
pub mod wait;
#[doc(hidden)]
pub mod watches;

/// The example of the README compiles.
#[cfg(all(doctest, feature = "tower"))]
#[doc = include_str!("../README.md")]
struct Readme;
