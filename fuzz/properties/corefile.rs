//! What holds for any text that is read as a Corefile: it is refused with a line that it has, or it can be served.

use std::path::Path;

use seaway_dns::corefile;
use seaway_dns::engine::Engine;

/// Checks it. Files that the text names are looked for where there are none.
pub(crate) fn check(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    // Names of files would be read from wherever they lead.
    if text.contains('/') {
        return;
    }
    match corefile::parse(text, Path::new("/nonexistent")) {
        Err(error) => {
            let lines = text.lines().count().max(1);
            assert!((1..=lines).contains(&error.line), "line {} of {lines}: {error}", error.line);
        }
        Ok(blocks) => {
            assert!(!blocks.is_empty());
            assert!(blocks.iter().all(|block| !block.zones.is_empty()));
            assert!(!Engine::new(blocks).chains().is_empty());
        }
    }
}
