//! Programs that are linked statically, to run where there is nothing but a kernel.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Artifact, Message};

use crate::workspace;

const TARGET: &str = "x86_64-unknown-linux-musl";
/// The C compiler for it, which Debian's musl-tools has.
const COMPILER: &str = "musl-gcc";

/// Variables that `cargo run` sets.
const OWN: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

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
    let mut command = Command::new("cargo");
    command
        .arg("build")
        .args(arguments)
        .args(["--release", "--locked", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .env("CC_x86_64_unknown_linux_musl", COMPILER)
        .current_dir(workspace::root())
        .stderr(Stdio::inherit());
    // What cargo tells this task about itself would be news to the build scripts of others.
    let own = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    own.filter(|name| OWN.iter().any(|prefix| name.starts_with(prefix))).for_each(|name| {
        command.env_remove(name);
    });
    let output = command.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "{command:?} failed with {}", output.status);
    let messages = Message::parse_stream(output.stdout.as_slice()).collect::<Result<Vec<_>, _>>()?;
    let artifacts = messages.into_iter().filter_map(|message| match message {
        Message::CompilerArtifact(Artifact { target, executable: Some(file), .. }) => {
            Some((target.name, file.into_std_path_buf()))
        }
        _ => None,
    });
    Ok(artifacts.collect())
}
