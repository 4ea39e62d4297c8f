//! The container image, where something can build it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;

use crate::{musl, workspace};

const TAG: &str = "seaway:latest";
const FILE: &str = "deploy/Containerfile";
/// Programs that can build it, and the arguments before and after `build`. Buildah gets along without
/// a daemon, a file system of its own and rights beyond those of `chroot`.
const BUILDERS: [(&str, &[&str], &[&str]); 3] = [
    ("podman", &[], &[]),
    ("buildah", &["--storage-driver", "vfs"], &["--isolation", "chroot"]),
    ("docker", &[], &[]),
];
/// Where the first stage of the file leaves the program.
const PROGRAM: &str = "src/target/release/seaway";

/// `cargo xtask image`
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Put in the program that this machine builds, in place of the first stage of the Containerfile,
    /// whose base is fetched from a registry.
    #[arg(long)]
    local: bool,
}

/// Builds the image and prints its size.
pub(crate) fn run(args: &Args) -> Result<()> {
    let there = |builder: &&(&str, _, _)| Command::new(builder.0).arg("--version").output().is_ok();
    let Some((builder, before, after)) = BUILDERS.iter().find(there) else {
        let names = BUILDERS.map(|(name, ..)| name).join(", ");
        bail!("none of {names} is here to build {FILE} with; Debian's packages have those names");
    };
    let mut build = Command::new(builder);
    build.args(*before).arg("build").args(*after).args(["--file", FILE, "--tag", TAG]);
    if args.local {
        let stage = first_stage()?;
        build.arg("--build-context").arg(format!("build={}", stage.display()));
    }
    workspace::run(build.arg("."))?;
    let mut size = Command::new(builder);
    // What each calls it; docker and podman count bytes, buildah writes for people.
    match *builder {
        "buildah" => size.args(*before).args(["images", "--format", "{{.Size}}", TAG]),
        _ => size.args(["image", "inspect", "--format", "{{.Size}}", TAG]),
    };
    let size = workspace::output(&mut size)?;
    let shown = size.parse::<f64>().map(|bytes| format!("{:.1} MB", bytes / 1e6));
    println!("{TAG}: {}", shown.unwrap_or(size));
    Ok(())
}

/// A folder with what the first stage would have made.
fn first_stage() -> Result<PathBuf> {
    let built = musl::build(&["--package", "seaway", "--bin", "seaway"])?;
    let program = built.get("seaway").context("cargo built no program")?;
    let folder = workspace::root().join("target/image");
    let place = folder.join(PROGRAM);
    fs::create_dir_all(place.parent().context("a folder")?)?;
    fs::copy(program, &place)?;
    workspace::run(Command::new("strip").arg(&place))?;
    println!("seaway, linked statically: {:.1} MB", fs::metadata(&place)?.len() as f64 / 1e6);
    Ok(folder)
}
