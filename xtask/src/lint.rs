//! Formatting and clippy, as CI runs them.

use anyhow::Result;

use crate::workspace;

/// Fails on the first finding.
pub(crate) fn run() -> Result<()> {
    workspace::run(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"];
    workspace::run(workspace::cargo().args(clippy))
}
