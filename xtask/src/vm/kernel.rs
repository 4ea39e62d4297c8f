//! A kernel of a series: which package it is, and what was unpacked from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

use super::archive::{Archive, IMAGE};

/// Flavours, the wanted one first: for virtual machines, and for any machine.
const FLAVOURS: [&str; 2] = ["-cloud-amd64", "-amd64"];

/// A kernel series, such as 6.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series(pub(super) u32, pub(super) u32);

/// A kernel, unpacked.
pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub(super) release: String,
    /// The bootable image.
    pub(super) image: PathBuf,
    /// Files of modules by the module's name.
    modules: BTreeMap<String, PathBuf>,
}

impl FromStr for Series {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is not a kernel series; give its first two numbers, such as 6.12");
        let (major, minor) = text.split_once('.').ok_or_else(wrong)?;
        Ok(Self(major.parse().map_err(|_| wrong())?, minor.parse().map_err(|_| wrong())?))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The release of the newest kernel of a series among packages with kernels.
pub(super) fn newest<'a>(images: &'a [String], series: &Series) -> Option<&'a str> {
    let of_flavour = |flavour: &str| {
        let releases = images.iter().filter_map(|name| release(name, flavour));
        releases
            .filter(|release| Series::of(release) == Some(*series))
            .max_by_key(|release| numbers(release.trim_end_matches(flavour)))
    };
    FLAVOURS.iter().find_map(|flavour| of_flavour(flavour))
}

/// What to say when there is no kernel of a series.
pub(super) fn absent(images: &[String], series: &Series) -> String {
    let releases =
        images.iter().filter_map(|name| FLAVOURS.iter().find_map(|flavour| release(name, flavour)));
    let offered: BTreeSet<Series> = releases.filter_map(Series::of).collect();
    let offered: Vec<String> = offered.iter().map(Series::to_string).collect();
    format!("Debian has no kernel {series} now; it has {}", offered.join(", "))
}

impl Series {
    fn of(release: &str) -> Option<Self> {
        let numbers = numbers(release);
        Some(Self(*numbers.first()?, *numbers.get(1)?))
    }
}

/// The release in a package's name, if it is of this flavour and no other.
fn release<'a>(package: &'a str, flavour: &str) -> Option<&'a str> {
    let release = package.strip_prefix(IMAGE)?;
    let version = release.strip_suffix(flavour)?;
    // What comes before the flavour are numbers; a word would be of another flavour.
    version.split('-').all(|part| part.starts_with(|c: char| c.is_ascii_digit())).then_some(release)
}

/// All numbers in a text: what releases are ordered by.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

impl Kernel {
    /// Downloads and unpacks a kernel, unless that was done before.
    pub(super) fn unpack(archive: &Archive, release: &str, folder: &Path) -> Result<Self> {
        let root = folder.join("kernels").join(release);
        if !root.exists() {
            eprintln!("downloading {release}");
            let unfinished = folder.join("kernels").join(format!("{release}.part"));
            fs::create_dir_all(&unfinished)?;
            archive.unpack_kernel(release, &unfinished)?;
            fs::rename(&unfinished, &root)?;
        }
        let library = [root.join("lib/modules"), root.join("usr/lib/modules")];
        let library = library.into_iter().map(|place| place.join(release)).find(|place| place.exists());
        let library = library.with_context(|| format!("the package of {release} has no modules"))?;
        let images = [root.join(format!("boot/vmlinuz-{release}")), library.join("vmlinuz")];
        let image = images.into_iter().find(|place| place.exists());
        let image = image.with_context(|| format!("the package of {release} has no kernel image"))?;
        let mut modules = BTreeMap::new();
        collect(&library.join("kernel"), &mut modules)?;
        Ok(Self { release: release.to_owned(), image, modules })
    }

    /// The modules by these names and all that they need, each after what it needs. One that this
    /// kernel has no file of is built in, or not there at all.
    pub(super) fn modules(&self, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut order = Vec::new();
        wanted.iter().try_for_each(|name| self.add(name, &mut order))?;
        Ok(order)
    }

    fn add(&self, name: &str, order: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
        let Some(file) = self.modules.get(name) else { return Ok(()) };
        if order.iter().any(|(there, _)| there == name) {
            return Ok(());
        }
        let bytes = unpacked(file)?;
        dependencies(&bytes).iter().try_for_each(|needed| self.add(needed, order))?;
        order.push((name.to_owned(), bytes));
        Ok(())
    }
}

/// Modules by name; file names may have dashes where names have underscores.
fn collect(folder: &Path, modules: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, modules)?;
        } else if let Some((name, _)) = path.file_name().and_then(|name| name.to_str()?.split_once(".ko")) {
            modules.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn unpacked(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|kind| kind != "xz") {
        return fs::read(file).with_context(|| file.display().to_string());
    }
    let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output()?;
    ensure!(output.status.success(), "cannot unpack {}", file.display());
    Ok(output.stdout)
}

/// Names in the module's `depends=` line (its `.modinfo` is a list of texts, each ended by a zero).
fn dependencies(module: &[u8]) -> Vec<String> {
    let lines = module.split(|byte| *byte == 0);
    let line = lines.filter_map(|line| line.strip_prefix(b"depends=")).next().unwrap_or_default();
    let names = String::from_utf8_lossy(line).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_kernel_of_a_series_is_found() {
        let images = [
            "linux-image-5.10.0-32-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.1.0-51-rt-amd64",
            "linux-image-6.12.90+deb12-cloud-amd64",
            "linux-image-6.12.90+deb12.1-cloud-amd64",
            "linux-image-6.12.100+deb12-amd64",
        ];
        let images = images.map(str::to_owned);
        let check = |major, minor, expected: Option<&str>| {
            assert_eq!(newest(&images, &Series(major, minor)), expected, "{major}.{minor}");
        };
        check(6, 1, Some("6.1.0-50-cloud-amd64"));
        check(6, 12, Some("6.12.90+deb12.1-cloud-amd64"));
        check(5, 10, Some("5.10.0-32-amd64"));
        check(5, 15, None);
        let message = absent(&images, &Series(5, 15));
        assert_eq!(message, "Debian has no kernel 5.15 now; it has 5.10, 6.1, 6.12");
    }

    #[test]
    fn a_series_is_two_numbers() {
        assert_eq!("6.12".parse(), Ok(Series(6, 12)));
        for wrong in ["6", "six.one", "6.12.3", ""] {
            assert!(wrong.parse::<Series>().is_err_and(|error| error.contains("6.12")), "{wrong}");
        }
    }

    #[test]
    fn modules_say_what_they_need() {
        assert_eq!(dependencies(b"x\0license=GPL\0depends=stp,llc\0name=bridge\0"), ["stp", "llc"]);
        assert_eq!(dependencies(b"x\0depends=\0name=veth\0"), [""; 0]);
    }
}
