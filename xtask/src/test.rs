//! The test run, with a count of what could not run here.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;

use crate::features::Results;
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
/// What became of the tests of feature rows is kept for `cargo xtask features`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let log = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--all-features", "--locked"]).args(&args.rest);
    let mut results = Results::read();
    let outcome = watched(command.env("SEAWAY_SKIP_LOG", log.path()), &mut results);
    let skipped = std::fs::read_to_string(log.path()).context("cannot read the list of skipped tests")?;
    for line in skipped.lines() {
        println!("skipped: {line}");
        results.skipped(line.split(": ").next().unwrap_or(line));
    }
    results.write()?;
    outcome?;
    let count = skipped.lines().count();
    println!("{count} tests skipped");
    let denied = std::env::var_os(DENY_SKIPS).is_some();
    ensure!(count == 0 || !denied, "{count} tests were skipped, and {DENY_SKIPS} is set");
    Ok(())
}

/// Runs a command, passes on what it prints, and takes note of the results in it.
fn watched(command: &mut Command, results: &mut Results) -> Result<()> {
    let shown = format!("{command:?}");
    let mut running =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {shown}"))?;
    let printed = BufReader::new(running.stdout.take().context("no output")?);
    for line in printed.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        results.note(&line);
    }
    let status = running.wait()?;
    ensure!(status.success(), "{shown} failed with {status}");
    Ok(())
}
