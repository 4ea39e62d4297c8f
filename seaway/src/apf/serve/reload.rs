//! Following the configuration: a change is applied, a broken one leaves the last good objects.
//!
//! Files are replaced by rename, folders by the `..data` link of a mounted ConfigMap or recreated as a
//! whole; a watch on an inode dies with it. So the files are looked at several times a second: a few
//! `stat` calls, which miss nothing.

use crate::apf::Common;
use seaway_apf::{Configuration, FlowControl};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{error, info, warn};

/// Time between two looks. A change is applied when two looks in a row see the same.
const PERIOD: Duration = Duration::from_millis(200);

/// What tells one state of the files from another: path, inode, size and time of change.
type Fingerprint = Vec<(PathBuf, u64, u64, i64, i64)>;

/// Applies objects, and reports what is wrong with them.
fn apply(control: &FlowControl, configuration: &Configuration) {
    let digested = control.configure(configuration);
    for found in digested.dangling.iter().filter(|found| found.dangling) {
        warn!("FlowSchema {:?} ignored: its priority level {:?} does not exist", found.schema, found.level);
    }
    for level in &digested.quiescing {
        info!("priority level {level:?} was removed; waiting for its requests to end");
    }
    info!(
        "applied {} flow schemas and {} priority levels",
        configuration.flow_schemas.len(),
        configuration.priority_levels.len()
    );
}

/// Applies the configuration, now and whenever a file changes.
pub(super) fn follow(control: &FlowControl, common: &Common) -> anyhow::Result<()> {
    // Seen before it is read: what changes meanwhile is read again.
    let mut applied = common.config.as_deref().map(fingerprint).unwrap_or_default();
    apply(control, &common.configuration()?);
    let Some(path) = common.config.clone() else { return Ok(()) };
    let (control, common) = (control.clone(), common.clone());
    let mut last = None;
    tokio::spawn(async move {
        let mut period = tokio::time::interval(PERIOD);
        loop {
            period.tick().await;
            let now = fingerprint(&path);
            if now != applied && last.as_ref() == Some(&now) {
                match common.configuration() {
                    Ok(configuration) => apply(&control, &configuration),
                    Err(e) => error!("configuration reload failed; keeping the previous one: {e:#}"),
                }
                applied.clone_from(&now);
            }
            last = Some(now);
        }
    });
    Ok(())
}

fn fingerprint(path: &Path) -> Fingerprint {
    let mut files = vec![path.to_owned()];
    if let Ok(entries) = std::fs::read_dir(path) {
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.sort();
    let seen = files.into_iter().filter_map(|file| {
        let found = std::fs::metadata(&file).ok()?;
        Some((file, found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
    });
    seen.collect()
}
