//! What tests and benchmarks share: privileges, waiting, the built program, an agent to test, an
//! API server to follow, and the maps in plain memory.
//!
//! Everything here panics instead of returning errors, with a message that says what was going on.

#![forbid(unsafe_code)]

mod agent;
mod api_server;
mod binary;
mod contents;
mod deployed;
mod faults;
mod memory_flows;
mod memory_maps;
mod memory_packet;
mod memory_tables;
mod privilege;
mod real_server;
mod script;
mod wait;
mod way_out;

pub use agent::{Agent, AgentSetup};
pub use api_server::{ApiBehaviour, ApiFault, ApiServer};
pub use binary::{launcher, seaway_binary};
pub use contents::{Contents, Destination, Frontend, options};
pub use deployed::deployed_arguments;
pub use faults::{Faults, FaultyMaps};
pub use memory_flows::MemoryFlows;
pub use memory_maps::{Memory, MemoryMaps};
pub use memory_packet::MemoryPacket;
pub use memory_tables::MemoryTables;
pub use privilege::{require_root, skip, test_name};
pub use real_server::RealServer;
pub use script::{Script, bless};
pub use wait::{wait_for, wait_for_some};
pub use way_out::WayOut;

/// Returns from the test, counted as skipped, where it cannot run; see [`require_root`].
#[macro_export]
macro_rules! privileged {
    () => {
        if !$crate::require_root(&$crate::test_name(module_path!())) {
            return;
        }
    };
}
