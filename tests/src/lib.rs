//! What the tests across crates share: packets, services to send them to, facts to choose from.

#![forbid(unsafe_code)]

pub mod agreement;
pub mod call;
pub mod damage;
pub mod facts;
pub mod frame;
pub mod site;
