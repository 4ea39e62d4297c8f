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

/// Variables that `cargo test` sets.
const OWN: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

fn build() -> PathBuf {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    // What cargo tells a test about its own package would be news to the build scripts of others: each
    // package with such tests would have them, and all that depends on them, built anew.
    let own = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        OWN.iter().any(|prefix| name.starts_with(prefix))
    });
    let build = escargot::CargoBuild::new().manifest_path(workspace).package("seaway").bin("seaway");
    let build = own.fold(build, escargot::CargoBuild::env_remove);
    let built = build.current_release().run().unwrap_or_else(|error| panic!("cannot build seaway: {error}"));
    built.path().to_owned()
}
