//! The guest's file system: one archive in the kernel's `newc` format.
//!
//! The format is that of the kernel's documentation, `driver-api/early-userspace/buffer-format`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::guest;
use super::kernel::Kernel;
use crate::workspace;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// Folders that something is mounted on, or written into.
const FOLDERS: [&str; 5] = ["dev", "proc", "sys", "tmp", "run"];

/// Writes the archive for a kernel, and returns its path.
pub(super) fn write(
    kernel: &Kernel,
    busybox: &Path,
    programs: &BTreeMap<String, PathBuf>,
    init: &str,
) -> Result<PathBuf> {
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let mut archive = Archive::default();
    FOLDERS.iter().for_each(|folder| archive.folder(Path::new(folder)));
    archive.add("init", PROGRAM, init.as_bytes());
    archive.add("bin/busybox", PROGRAM, &read(busybox)?);
    for (name, path) in programs {
        archive.add(&format!("bin/{name}"), PROGRAM, &read(path)?);
    }
    let mut order = String::new();
    for (name, module) in kernel.modules(&guest::MODULES)? {
        archive.add(&format!("modules/{name}.ko"), FILE, &module);
        order.push_str(&format!("/modules/{name}.ko\n"));
    }
    archive.add("modules/order", FILE, order.as_bytes());
    // `SEAWAY_TEST_DATA` leads the tests there.
    let tests = workspace::root().join("tests");
    for file in files(&tests.join("data"))? {
        archive.add(&file.strip_prefix(&tests)?.to_string_lossy(), FILE, &read(&file)?);
    }
    let path = workspace::root().join("target/vm").join(format!("{}.cpio", kernel.release));
    fs::write(&path, archive.finish()).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<PathBuf>,
    entries: u32,
}

impl Archive {
    /// Adds a file, and the folders on the way to it.
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.folder(Path::new(name).parent().unwrap_or(Path::new("")));
        self.entry(name, mode, content);
    }

    fn folder(&mut self, path: &Path) {
        if path.as_os_str().is_empty() || !self.folders.insert(path.to_owned()) {
            return;
        }
        self.folder(path.parent().unwrap_or(Path::new("")));
        self.entry(&path.to_string_lossy(), FOLDER, &[]);
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (inode, links, size, name_size) = (self.entries, 1, content.len(), name.len() + 1);
        write!(
            self.bytes,
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{links:08x}{0:08x}{size:08x}\
             {0:08x}{0:08x}{0:08x}{0:08x}{name_size:08x}{0:08x}{name}\0",
            0
        )
        .expect("memory takes every write");
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_follow_their_folders() {
        let mut archive = Archive::default();
        archive.add("a/b/c", FILE, b"text!");
        archive.add("a/b/d", FILE, b"");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let headers: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        let names: Vec<&str> =
            headers.iter().map(|at| text[at + 110..].split('\0').next().unwrap()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/b/d", "TRAILER!!!"]);
        assert!(headers.iter().all(|at| at % 4 == 0));
        let size = |at: usize| u32::from_str_radix(&text[at + 54..at + 62], 16).unwrap();
        assert_eq!(headers.iter().map(|at| size(*at)).collect::<Vec<_>>(), [0, 0, 5, 0, 0]);
    }
}
