//! Where the workspace is, and commands in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Artifact, Message};

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Variables that `cargo run` sets.
const OWN: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// Cargo in the workspace's root, without what the cargo that runs this task tells it about itself: that
/// would be news to the build scripts of others, and they and all that depends on them would be built anew.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    let own = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    own.filter(|name| OWN.iter().any(|prefix| name.starts_with(prefix))).for_each(|name| {
        command.env_remove(name);
    });
    command.current_dir(root());
    command
}

/// Runs a command in the workspace's root; its failure is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.current_dir(root()).status().with_context(|| format!("cannot start {shown}"))?;
    ensure!(status.success(), "{shown} failed with {status}");
    Ok(())
}

/// Runs a `cargo build`, and returns the programs that it made by name, wherever the target folder is.
pub(crate) fn build(command: &mut Command) -> Result<BTreeMap<String, PathBuf>> {
    command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
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

/// Runs a command and returns what it printed, without the last line's end.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.current_dir(root()).output().with_context(|| format!("cannot start {shown}"))?;
    ensure!(
        output.status.success(),
        "{shown} failed with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
