//! The virtual machine: qemu, with an emulated processor.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::kernel::Kernel;
use crate::workspace;

const PROCESSORS: &str = "2";
const MEMORY: &str = "2G";
const POLL_EVERY: Duration = Duration::from_millis(100);

/// Boots a kernel and returns what came by its serial console, when the guest ends or `limit` is over.
pub(super) fn boot(kernel: &Kernel, initramfs: &std::path::Path, limit: Duration) -> Result<String> {
    let console = workspace::root().join("target/vm").join(format!("{}.log", kernel.release));
    let log = File::create(&console).with_context(|| console.display().to_string())?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-cpu", "max", "-smp", PROCESSORS, "-m", MEMORY])
        .args(["-nographic", "-no-reboot", "-nic", "none", "-monitor", "none", "-serial", "stdio"])
        .args(["-append", "console=ttyS0 panic=-1 loglevel=3"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log);
    let mut qemu = qemu.spawn().context("cannot start qemu-system-x86_64")?;
    let deadline = Instant::now() + limit;
    while qemu.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            qemu.kill()?;
            qemu.wait()?;
            break;
        }
        thread::sleep(POLL_EVERY);
    }
    let text = fs::read(&console).with_context(|| console.display().to_string())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
