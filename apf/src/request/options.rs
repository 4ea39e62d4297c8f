//! The list options of a query.

use super::selector;
use percent_encoding::percent_decode_str;

/// The options of a list or watch that matter to its cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Whether changes are to be streamed.
    pub watch: bool,
    /// Whether a watch starts with all objects.
    pub send_initial_events: Option<bool>,
    /// Most objects to return; 0 for no limit.
    pub limit: i64,
    /// Continues an earlier list.
    pub continue_token: String,
    /// Version to read at.
    pub resource_version: String,
    /// How to understand the version.
    pub resource_version_match: String,
    /// Selector on fields.
    pub field_selector: String,
    /// Selector on labels.
    pub label_selector: String,
}

/// Why a query does not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("query parameter {parameter}={value:?} is malformed")]
pub struct Malformed {
    /// The parameter's name.
    pub parameter: String,
    /// Its value.
    pub value: String,
}

impl ListOptions {
    /// Decodes a query; of a repeated parameter the first counts.
    ///
    /// # Errors
    /// A number that is none, or a selector that does not parse.
    pub fn parse(query: &str) -> Result<Self, Malformed> {
        let mut options = Self::default();
        let mut seen = Vec::new();
        for (key, value) in pairs(query) {
            if seen.contains(&key) {
                continue;
            }
            let malformed = || Malformed { parameter: key.clone(), value: value.clone() };
            match key.as_str() {
                "watch" => options.watch = boolean(&value),
                "sendInitialEvents" => options.send_initial_events = Some(boolean(&value)),
                "limit" => options.limit = value.parse().map_err(|_| malformed())?,
                "timeoutSeconds" => {
                    value.parse::<i64>().map_err(|_| malformed())?;
                }
                "continue" => options.continue_token = value,
                "resourceVersion" => options.resource_version = value,
                "resourceVersionMatch" => options.resource_version_match = value,
                "fieldSelector" if selector::field_terms(&value).is_none() => return Err(malformed()),
                "fieldSelector" => options.field_selector = value,
                "labelSelector" if !selector::is_label_selector(&value) => return Err(malformed()),
                "labelSelector" => options.label_selector = value,
                _ => {}
            }
            seen.push(key);
        }
        Ok(options)
    }
}

/// Whether a query that does not decode still asks for a watch.
pub(super) fn raw_watch(query: &str) -> bool {
    pairs(query).find(|(key, _)| key == "watch").is_some_and(|(_, value)| boolean(&value))
}

fn boolean(value: &str) -> bool {
    !(value.eq_ignore_ascii_case("false") || value == "0")
}

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
