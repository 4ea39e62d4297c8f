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
mod external;
mod lookup;
mod scribe;
mod service;
mod transfer;

pub(crate) use answer::zone_of;
pub use answer::{Outcome, Request, Resolved, answer};
pub use lookup::{Found, PortLabels, Zonal, find};

pub use transfer::transfer;

pub(crate) use address_name::address_of;
pub(crate) use chase::complete;
pub(crate) use external::answer as external;
