//! Benchmarks, side by side with the peers.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::{env, io};

/// Cargo's target folder, wherever its settings put it: this program lies in `release/deps` of it.
///
/// # Errors
/// When the system does not say where this program lies.
pub fn target_folder() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    program.ancestors().nth(3).map(PathBuf::from).ok_or_else(|| io::ErrorKind::NotFound.into())
}
