//! The container image, where something can build it.

use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace;

const TAG: &str = "seaway:latest";
const BUILDERS: [&str; 2] = ["podman", "docker"];

/// Builds the image and prints its size.
pub(crate) fn run() -> Result<()> {
    let there = |builder: &&&str| Command::new(builder).arg("--version").output().is_ok();
    let Some(builder) = BUILDERS.iter().find(there) else {
        bail!("neither {} is here to build deploy/Containerfile with", BUILDERS.join(" nor "));
    };
    workspace::run(Command::new(builder).args([
        "build",
        "--file",
        "deploy/Containerfile",
        "--tag",
        TAG,
        ".",
    ]))?;
    let size =
        workspace::output(Command::new(builder).args(["image", "inspect", "--format", "{{.Size}}", TAG]))?;
    let bytes: f64 = size.parse()?;
    println!("{TAG}: {:.1} MiB", bytes / 1024.0 / 1024.0);
    Ok(())
}
