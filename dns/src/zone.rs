//! The zones of a cluster: what a name in them means, and the answer to it.
//!
//! ```text
//! name ── lookup ──▶ Found ── answer ──▶ octets
//!          │ knows no type                └ adds what the type asks for
//! ```
//!
//! What a name means never depends on the type asked for, so a name that has an answer for one type
//! is never denied for another.

mod address_name;
mod answer;
mod apex;
mod chase;
mod lookup;
mod scribe;
mod service;

pub use answer::{Outcome, Request, Resolved, answer};
pub use lookup::{Found, PortLabels, Zonal, find};
