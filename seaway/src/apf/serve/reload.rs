//! A changed folder puts its objects in force; a broken one leaves the last good ones there.

use crate::apf::Common;
use anyhow::Context;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use seaway_apf::control::FlowControl;
use seaway_apf::read::Configuration;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};
use tracing::{error, info, warn};

/// Time in which further changes are taken together.
const SETTLE: Duration = Duration::from_millis(200);

/// Puts objects in force and says what is wrong with them.
pub(super) fn apply(control: &FlowControl, configuration: &Configuration) {
    let digested = control.configure(configuration);
    for found in digested.dangling.iter().filter(|found| found.dangling) {
        warn!(
            "schema {:?} names the level {:?}, which is missing: it is left out",
            found.schema, found.level
        );
    }
    for level in &digested.quiescing {
        info!("level {level:?} is gone and waits for its requests to end");
    }
    info!(
        "{} schemas and {} levels in force",
        configuration.flow_schemas.len(),
        configuration.priority_levels.len()
    );
}

/// Reloads whenever something in the folder changes, until the watcher is dropped.
pub(super) fn watch(control: &FlowControl, common: &Common) -> anyhow::Result<Option<RecommendedWatcher>> {
    let Some(path) = &common.config else { return Ok(None) };
    let (changed, changes) = channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_change = event.is_ok_and(|event| !event.kind.is_access());
        // A full channel means that a reload is due anyway.
        if is_change && changed.try_send(()).is_err() {
            tracing::trace!("change noted already");
        }
    })?;
    watcher
        .watch(path, RecursiveMode::NonRecursive)
        .with_context(|| format!("cannot watch {}", path.display()))?;
    tokio::spawn(reload(control.clone(), common.clone(), changes));
    Ok(Some(watcher))
}

async fn reload(control: FlowControl, common: Common, mut changes: Receiver<()>) {
    while changes.recv().await.is_some() {
        tokio::time::sleep(SETTLE).await;
        match common.configuration() {
            Ok(configuration) => apply(&control, &configuration),
            Err(e) => error!("the configuration stays as it was: {e:#}"),
        }
    }
}
