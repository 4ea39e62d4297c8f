//! The container image, where something can build it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;

use crate::{musl, workspace};

const TAG: &str = "seaway:latest";
const FILE: &str = "deploy/Containerfile";
/// Programs that can build it.
const BUILDERS: [Builder; 3] = [
    Builder { name: "podman", works: &["--version"], before: &[], after: &[] },
    // It gets along without a daemon, a file system of its own and rights beyond those of `chroot`.
    Builder {
        name: "buildah",
        works: &["--version"],
        before: &["--storage-driver", "vfs"],
        after: &["--isolation", "chroot"],
    },
    // Needs its daemon, and BuildKit for a stage from elsewhere.
    Builder { name: "docker", works: &["buildx", "inspect"], before: &[], after: &[] },
];

/// A program that builds images.
struct Builder {
    name: &'static str,
    /// Arguments with which it succeeds where it can build.
    works: &'static [&'static str],
    /// Arguments before and after `build`.
    before: &'static [&'static str],
    after: &'static [&'static str],
}

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
    let works = |builder: &&Builder| {
        let probed = Command::new(builder.name).args(builder.works).output();
        probed.is_ok_and(|output| output.status.success())
    };
    let Some(Builder { name, before, after, .. }) = BUILDERS.iter().find(works) else {
        let names = BUILDERS.map(|builder| builder.name).join(", ");
        bail!(
            "none of {names} can build {FILE} here: Debian's packages podman and buildah do, docker needs its \
             daemon and buildx"
        );
    };
    let mut build = Command::new(name);
    build.args(*before).arg("build").args(*after).args(["--file", FILE, "--tag", TAG]);
    if args.local {
        let stage = first_stage()?;
        build.arg("--build-context").arg(format!("build={}", stage.display()));
    }
    workspace::run(build.arg("."))?;
    let mut size = Command::new(name);
    // What each calls it; docker and podman count bytes, buildah writes for people.
    match *name {
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
