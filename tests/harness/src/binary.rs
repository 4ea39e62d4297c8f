//! The `seaway` program, built once per test process.

use std::{
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use seaway_lab::Launcher;

/// The path of the `seaway` program: what `SEAWAY_BINARY` names, otherwise built now, in the
/// profile of the test.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn seaway_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("SEAWAY_BINARY").map_or_else(build, PathBuf::from))
}

/// Runs workers with the `seaway` program.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn launcher() -> Launcher {
    Launcher::new(seaway_binary(), ["worker"])
}

fn build() -> PathBuf {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let build = escargot::CargoBuild::new().manifest_path(workspace).package("seaway").bin("seaway");
    let built = build.current_release().run().unwrap_or_else(|error| panic!("cannot build seaway: {error}"));
    built.path().to_owned()
}
