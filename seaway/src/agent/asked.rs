//! What the agent shall attach to, as its flags say and the node's interfaces are now.

use std::path::PathBuf;

use seaway_dataplane::attachments::{Asked, Attachment, Place};

use super::interfaces::Interfaces;

/// The flags, and what they came to last.
pub(super) struct Asking {
    interfaces: Interfaces,
    pods: Interfaces,
    asked: Asked,
}

impl Asking {
    /// Nothing was looked for yet.
    pub(super) fn new(interfaces: Interfaces, pods: Interfaces, cgroup: Option<PathBuf>) -> Self {
        Self { interfaces, pods, asked: Asked { cgroup, ..Asked::default() } }
    }

    /// What they come to now. If the node's interfaces cannot be listed it is what it was.
    pub(super) fn now(&mut self) -> &Asked {
        match (self.interfaces.present(), self.pods.present()) {
            (Ok(interfaces), Ok(pods)) => (self.asked.interfaces, self.asked.pods) = (interfaces, pods),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(error = format!("{error:#}"), "interfaces that came or went are not seen");
            }
        }
        &self.asked
    }

    /// The cgroup without any interface.
    pub(super) fn cgroup_alone(&self) -> Asked {
        Asked { cgroup: self.asked.cgroup.clone(), ..Asked::default() }
    }

    /// Whether a flag names this place itself, not by a pattern.
    pub(super) fn names(&self, attachment: &Attachment) -> bool {
        match &attachment.place {
            Place::Cgroup => true,
            Place::Interface(name) => {
                let mut named = self.interfaces.named().iter().chain(self.pods.named());
                named.any(|named| named == name)
            }
        }
    }
}
