//! The test run, with a count of what could not run here.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;

use crate::workspace;

/// Makes a skipped test fail; the tests themselves look at it too.
const DENY_SKIPS: &str = "SEAWAY_DENY_SKIPS";

/// `cargo xtask test`
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Passed on to `cargo test`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs `cargo test` over the workspace and reports skipped tests, which note themselves in a file.
pub(crate) fn run(args: &Args) -> Result<()> {
    let log = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    let mut command = Command::new("cargo");
    command.args(["test", "--workspace", "--all-features", "--locked"]).args(&args.rest);
    workspace::run(command.env("SEAWAY_SKIP_LOG", log.path()))?;
    let skipped = std::fs::read_to_string(log.path()).context("cannot read the list of skipped tests")?;
    for line in skipped.lines() {
        println!("skipped: {line}");
    }
    let count = skipped.lines().count();
    println!("{count} tests skipped");
    let denied = std::env::var_os(DENY_SKIPS).is_some();
    ensure!(count == 0 || !denied, "{count} tests were skipped, and {DENY_SKIPS} is set");
    Ok(())
}
