//! API Priority and Fairness for any server.

#![forbid(unsafe_code)]

pub mod builtin;
pub mod classify;
pub mod deal;
pub mod defaults;
pub mod estimate;
pub mod flow;
pub mod matching;
mod number;
pub mod object;
pub mod objects;
pub mod read;
pub mod request;
pub mod seats;
pub mod upkeep;
pub mod validate;
pub mod watches;
