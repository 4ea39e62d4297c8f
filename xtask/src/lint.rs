//! Formatting and clippy, as CI runs them.

use std::process::Command;

use anyhow::Result;

use crate::workspace;

/// Fails on the first finding.
pub(crate) fn run() -> Result<()> {
    workspace::run(Command::new("cargo").args(["fmt", "--all", "--check"]))?;
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"];
    workspace::run(Command::new("cargo").args(clippy))
}
