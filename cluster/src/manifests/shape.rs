//! Fields of the right shape: documents and list items parsed into Rust types.

use serde::Deserializer;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Track;
use serde_saphyr::{MessageFormatter, Options, UserMessageFormatter};

/// The limit on parser events and nodes in one document; a slice of 100,000 endpoints has about
/// two million.
const YAML_NODES_MAX: usize = 50_000_000;
/// The limit on the text of all scalars of one document.
const YAML_SCALAR_BYTES_MAX: usize = 512 << 20;

/// Where an object's fields come from.
pub(super) trait Source {
    /// The fields as `T`; the paths of those that `T` does not have are added to `unknown`.
    fn decode<T: DeserializeOwned>(self, unknown: &mut Vec<String>) -> Result<T, Misfit>;
}

/// A text that is not YAML, or a field of the wrong shape.
#[derive(Debug)]
pub(super) struct Misfit {
    /// The line of the source, from 1; 0 where it is not known.
    pub(super) line: u64,
    /// The path of the field; empty for the source as a whole.
    pub(super) field: String,
    /// What is wrong.
    pub(super) message: String,
}

/// A YAML document. JSON is YAML too, so one parser, and one way to count lines, serves both.
impl Source for &str {
    fn decode<T: DeserializeOwned>(self, unknown: &mut Vec<String>) -> Result<T, Misfit> {
        let options: Options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_events: YAML_NODES_MAX,
                max_nodes: YAML_NODES_MAX,
                max_total_scalar_bytes: YAML_SCALAR_BYTES_MAX,
            },
            // YAML 1.2: `yes`, `on` and `n` are texts, also in a list, whose items have no types yet.
            strict_booleans: true,
            with_snippet: false,
        };
        let mut field = String::new();
        serde_saphyr::with_deserializer_from_str_with_options(self, options, |parser| {
            decode(parser, &mut field, unknown)
        })
        .map_err(|error| Misfit {
            line: error.location().map_or(0, |location| location.line()),
            field,
            message: UserMessageFormatter.format_message(error.without_snippet()).into_owned(),
        })
    }
}

/// An item of a list, of which only the line on which it begins is known. It goes through text
/// again, so that every type is compiled for one deserializer only: they make up most of the time
/// that building this crate takes.
impl Source for Value {
    fn decode<T: DeserializeOwned>(self, unknown: &mut Vec<String>) -> Result<T, Misfit> {
        let decoded = self.to_string().as_str().decode(unknown);
        decoded.map_err(|misfit| Misfit { line: 0, ..misfit })
    }
}

/// Deserializes, and keeps the path of the field that fails and of those that are not known.
fn decode<'de, T, D>(deserializer: D, field: &mut String, unknown: &mut Vec<String>) -> Result<T, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let mut track = Track::new();
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(spelled(&path));
    let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    let result = T::deserialize(serde_ignored::Deserializer::new(tracked, &mut note));
    if result.is_err() {
        // What the tracker cannot name, such as a key that is not there, it spells `?` or `.`.
        let path = track.path().to_string();
        path.trim_end_matches(['?', '.']).clone_into(field);
    }
    result
}

/// The path as all warnings spell it: `spec.ports[0].port`.
fn spelled(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path::{Map, NewtypeStruct, NewtypeVariant, Root, Seq, Some};
    match path {
        Root => String::new(),
        Seq { parent, index } => format!("{}[{index}]", spelled(parent)),
        Map { parent, key } => match spelled(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Some { parent } | NewtypeStruct { parent } | NewtypeVariant { parent } => spelled(parent),
    }
}
