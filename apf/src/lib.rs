//! API Priority and Fairness for any server.

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
