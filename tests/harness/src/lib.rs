//! What tests and benchmarks share: privileges, waiting, the built program, an agent to test.
//!
//! Everything here panics instead of returning errors, with a message that says what was going on.

#![forbid(unsafe_code)]

mod agent;
mod binary;
mod privilege;
mod wait;

pub use agent::{Agent, AgentSetup};
pub use binary::{launcher, seaway_binary};
pub use privilege::{require_root, skip, test_name};
pub use wait::{wait_for, wait_for_some};

/// Returns from the test, counted as skipped, where it cannot run; see [`require_root`].
#[macro_export]
macro_rules! privileged {
    () => {
        if !$crate::require_root(&$crate::test_name(module_path!())) {
            return;
        }
    };
}
