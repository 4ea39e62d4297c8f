//! What is said of attachments: each that comes or goes in the log, and whether all are there.

use std::collections::BTreeMap;

use seaway_dataplane::attachments::{Attachment, Changes, Place, State};

/// How an attachment came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    /// By a new link.
    New,
    /// An earlier link runs this agent's program.
    Replaced,
}

/// Tells of changes, a line for each interface. What changes at a cgroup after the start was somebody else's
/// doing.
pub(super) fn tell(changes: &Changes, after_start: bool) {
    let mut places: BTreeMap<&Place, BTreeMap<How, Vec<&str>>> = BTreeMap::new();
    let new = changes.attached.iter().map(|attachment| (How::New, attachment));
    for (how, attachment) in new.chain(changes.updated.iter().map(|attachment| (How::Replaced, attachment))) {
        places.entry(&attachment.place).or_default().entry(how).or_default().push(attachment.program);
    }
    for (place, programs) in places {
        match place {
            Place::Cgroup if after_start => {
                tracing::warn!(?programs, "attached to the cgroup again: something else had detached them");
            }
            Place::Cgroup => tracing::info!(?programs, "attached cgroup"),
            Place::Interface(interface) => tracing::info!(interface, ?programs, "attached interface"),
        }
    }
    for pin in &changes.removed {
        let link = Attachment::of_pin(pin).map_or_else(|| pin.clone(), |attachment| attachment.to_string());
        tracing::info!(link, "detached: it is not asked for, or its interface or cgroup is gone");
    }
}

/// Whether no packet and no socket goes untranslated for want of a program.
pub(super) fn all_served(states: &[State]) -> bool {
    states.iter().all(|state| state.missing.is_none() || state.served)
}
