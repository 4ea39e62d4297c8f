//! What the tests across crates share: packets, services to send them to, facts to choose from, and
//! a replay of recorded behaviour.

#![forbid(unsafe_code)]

pub mod agreement;
pub mod api_objects;
pub mod balancer;
pub mod bulk;
pub mod call;
pub mod damage;
pub mod data;
pub mod endurance;
pub mod facts;
pub mod fixtures;
pub mod frame;
pub mod names;
pub mod network;
pub mod nodes;
pub mod query;
pub mod reachability;
pub mod site;
