//! Where the files are that tests compare with.

use std::{env, path::PathBuf};

/// Set where the tests do not run where they were built, as in `cargo xtask vm`.
pub const FOLDER: &str = "SEAWAY_TEST_DATA";

/// The path of a file or folder among the tests' data.
pub fn path(name: &str) -> PathBuf {
    let own = || concat!(env!("CARGO_MANIFEST_DIR"), "/data").into();
    env::var_os(FOLDER).map_or_else(own, PathBuf::from).join(name)
}
