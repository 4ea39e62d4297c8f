//! Programs that are linked statically, to run where there is nothing but a kernel.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::workspace;

const TARGET: &str = "x86_64-unknown-linux-musl";
/// The C compiler for it, which Debian's musl-tools has.
const COMPILER: &str = "musl-gcc";

/// Runs `cargo build --release` with these arguments, and returns the programs by name.
pub(crate) fn build(arguments: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let targets = workspace::output(Command::new("rustup").args(["target", "list", "--installed"]))?;
    ensure!(
        targets.lines().any(|target| target == TARGET),
        "no standard library to link statically with: rustup target add {TARGET}"
    );
    ensure!(
        Command::new(COMPILER).arg("--version").output().is_ok(),
        "{COMPILER} is not here: apt-get install musl-tools"
    );
    let mut command = workspace::cargo();
    command
        .arg("build")
        .args(arguments)
        .args(["--release", "--locked", "--target", TARGET])
        .env("CC_x86_64_unknown_linux_musl", COMPILER);
    workspace::build(&mut command)
}
