//! What the API server sends: pages of lists, and lines of watches.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::Metadata;

/// The annotation of the bookmark after the last object of a streamed list (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// A page of a list. Its objects are texts still: one that cannot be read concerns no other.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    /// Where the list stands.
    #[serde(default)]
    pub(super) metadata: PageMetadata,
    /// The objects.
    #[serde(borrow, default)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

/// `metadata` of a list (`ListMeta`, meta/v1).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PageMetadata {
    /// The position at which a watch goes on.
    pub(super) resource_version: Option<String>,
    /// How to ask for the next page; empty or absent on the last.
    #[serde(rename = "continue")]
    pub(super) continues: Option<String>,
    /// Objects after this page, where nothing is selected.
    pub(super) remaining_item_count: Option<u64>,
}

/// A line of a watch.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// The object came.
    Added(&'a RawValue),
    /// The object changed.
    Changed(&'a RawValue),
    /// The object went; this was its last form.
    Gone(&'a RawValue),
    /// The watch has come this far.
    Bookmark {
        /// The position.
        position: String,
        /// All objects of a streamed list have been sent.
        list_ends: bool,
    },
    /// The server gives up.
    Error(ServerError),
    /// A kind of line that came after this was written.
    Unknown,
}

/// `Status` (meta/v1), as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServerError {
    /// The HTTP status it stands for.
    pub(super) code: u16,
    /// For people.
    pub(super) message: String,
    /// For programs.
    pub(super) reason: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Bookmark {
    metadata: Metadata,
}

impl<'a> Line<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is not of the shape that every line has.
    pub(super) fn of(text: &'a [u8]) -> serde_json::Result<Self> {
        let Envelope { kind, object } = serde_json::from_slice(text)?;
        Ok(match kind {
            "ADDED" => Self::Added(object),
            "MODIFIED" => Self::Changed(object),
            "DELETED" => Self::Gone(object),
            "BOOKMARK" => {
                let Bookmark { metadata } = serde_json::from_str(object.get())?;
                let annotations = metadata.annotations.unwrap_or_default();
                let list_ends = annotations.get(INITIAL_EVENTS_END).is_some_and(|value| value == "true");
                Self::Bookmark { position: metadata.resource_version.unwrap_or_default(), list_ends }
            }
            "ERROR" => Self::Error(serde_json::from_str(object.get())?),
            _ => Self::Unknown,
        })
    }
}
