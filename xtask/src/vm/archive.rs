//! Debian's packages, fetched by apt with folders of its own: nothing is installed.
//!
//! The mirror is the one that this machine's apt uses, the suites are all that have kernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

/// Suites with kernels, the oldest first. One that a mirror no longer has is passed over.
const SUITES: [&str; 7] =
    ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "forky", "sid"];
/// Package lists are fetched anew after this time.
const FRESH_FOR: Duration = Duration::from_secs(24 * 3600);
const BUSYBOX: &str = "busybox-static";
/// What names of packages with a kernel begin with.
pub(super) const IMAGE: &str = "linux-image-";

/// An apt of our own.
pub(super) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Makes its folders and fetches the lists of packages where they are not there or old.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let archive = Self { folder: folder.to_owned() };
        for part in ["lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let mirror = mirror()?;
        let sources = SUITES.map(|suite| format!("deb [target=Packages] {mirror} {suite} main\n")).concat();
        fs::write(folder.join("sources.list"), sources)?;
        fs::write(folder.join("apt.conf"), archive.configuration())?;
        let fetched = folder.join("fetched");
        let age = fs::metadata(&fetched)
            .and_then(|file| file.modified())
            .map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        if age.is_ok_and(|age| age < FRESH_FOR) {
            return Ok(archive);
        }
        eprintln!("fetching the lists of packages");
        // A suite that is gone is an error to apt; what matters is whether there are kernels.
        archive.apt("apt-get").args(["--quiet", "update"]).output().context("cannot start apt-get")?;
        ensure!(!archive.images()?.is_empty(), "the mirror {mirror} has no kernels of any suite");
        fs::write(fetched, "")?;
        Ok(archive)
    }

    /// Names of all packages with a kernel for this architecture.
    pub(super) fn images(&self) -> Result<Vec<String>> {
        let pattern = format!("^{IMAGE}[0-9].*-amd64$");
        let found = self.ask(&["search", "--names-only", &pattern])?;
        Ok(found.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    /// The path of a statically linked busybox.
    pub(super) fn busybox(&self, folder: &Path) -> Result<PathBuf> {
        if !folder.exists() {
            self.unpack(BUSYBOX, folder)?;
        }
        let places = ["bin/busybox", "usr/bin/busybox"].map(|place| folder.join(place));
        places.into_iter().find(|place| place.exists()).context("no busybox in its package")
    }

    /// Downloads a kernel's package, and those of its parts where it is split, and unpacks all of it.
    pub(super) fn unpack_kernel(&self, release: &str, into: &Path) -> Result<()> {
        let image = format!("{IMAGE}{release}");
        let needed = self.ask(&["depends", "--important", &image])?;
        let parts = needed.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let parts = parts.filter(|name| name.starts_with("linux-") && name.ends_with(release));
        for package in parts.chain([image.as_str()]) {
            self.unpack(package, into)?;
        }
        Ok(())
    }

    /// Unpacks a package into a folder that is not there before, nor when that fails.
    fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let fetched = tempfile::tempdir_in(self.folder.join("packages"))?;
        let mut download = self.apt("apt-get");
        // Not as apt's own user, who may not write here.
        download.args(["--quiet", "-o", "APT::Sandbox::User=root", "download", package]);
        let output = download.current_dir(fetched.path()).output().context("cannot start apt-get")?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cannot download {package}: {}", text.trim());
        for file in fs::read_dir(fetched.path())? {
            workspace::run(Command::new("dpkg-deb").arg("-x").arg(file?.path()).arg(into))?;
        }
        Ok(())
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        workspace::output(self.apt("apt-cache").args(arguments))
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }

    fn configuration(&self) -> String {
        let folder = self.folder.display();
        format!(
            "Dir::Etc::sourcelist \"{folder}/sources.list\";\n\
             Dir::Etc::sourceparts \"-\";\n\
             Dir::State::lists \"{folder}/lists\";\n\
             Dir::State::status \"/dev/null\";\n\
             Dir::Cache \"{folder}/cache\";\n\
             Acquire::Languages \"none\";\n\
             APT::Architecture \"amd64\";\n"
        )
    }
}

/// The mirror of Debian itself that this machine's apt is set up with.
fn mirror() -> Result<String> {
    let format = ["--format", "$(ORIGIN) $(SITE)", "Created-By: Packages"];
    let targets = workspace::output(Command::new("apt-get").arg("indextargets").args(format))?;
    let sites = targets.lines().filter_map(|line| line.strip_prefix("Debian "));
    match sites.into_iter().find(|site| !site.contains("security")) {
        Some(site) => Ok(site.to_owned()),
        None => bail!("apt knows no mirror of Debian here: add one to its sources, and run apt-get update"),
    }
}
