//! The programs on other kernels: Debian's, in virtual machines without hardware acceleration.
//!
//! ```text
//! packages (apt, folders of its own) ── kernel, modules ─┐
//! cargo, musl target ── seaway, test programs ───────────┼─ initramfs ── qemu ── serial console ── table
//! ```

mod archive;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod report;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;

use crate::{musl, workspace};
use archive::Archive;
use kernel::{Kernel, Series};
use report::{Column, Outcome};

/// `cargo xtask vm`
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Kernel series, each the newest that Debian has of it.
    #[arg(value_name = "KERNEL", default_values = ["6.1", "6.12", "7.2"])]
    kernels: Vec<Series>,
}

/// What has to be installed, and the Debian package that brings it.
const NEEDED: [(&str, &str); 4] =
    [("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("xz", "xz-utils"), ("qemu-system-x86_64", "qemu-system-x86")];

/// Boots each kernel, runs the tests in it, and prints what came of them.
pub(crate) fn run(args: &Args) -> Result<()> {
    for (program, package) in NEEDED {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output()?;
        ensure!(found.status.success(), "{program} is not here; apt-get install {package}");
    }
    let folder = workspace::root().join("target/vm");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let archive = Archive::open(&folder.join("apt"))?;
    let images = archive.images()?;
    let busybox = archive.busybox(&folder.join("busybox"))?;
    let tests = guest::TESTS.iter().flat_map(|test| ["--test", test]);
    // One run of cargo: what the program and the tests both need is built once.
    let wanted = ["--package", "seaway", "--package", "seaway-tests", "--bin", "seaway"];
    let programs = musl::build(&wanted.into_iter().chain(tests).collect::<Vec<_>>())?;
    let mut columns = Vec::new();
    for series in &args.kernels {
        let kernel = kernel::newest(&images, series)
            .map(|release| Kernel::unpack(&archive, release, &folder))
            .with_context(|| kernel::absent(&images, series))
            .flatten();
        let column = match kernel {
            Ok(kernel) => {
                eprintln!("booting {}", kernel.release);
                let cells = guest::cells(*series);
                let image = initramfs::write(&kernel, &busybox, &programs, &guest::init(&cells))?;
                let console = machine::boot(&kernel, &image, guest::limit(&cells))?;
                Column::read(&kernel.release, &cells, &console)
            }
            Err(error) => Column::absent(&series.to_string(), &format!("{error:#}")),
        };
        columns.push(column);
    }
    print!("{}", report::table(&columns));
    let failed = columns.iter().filter(|column| !column.outcomes().all(Outcome::passed)).count();
    ensure!(failed == 0, "{failed} of {} kernels did not pass", columns.len());
    Ok(())
}
