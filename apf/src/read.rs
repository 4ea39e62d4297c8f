//! Reading configuration: YAML (feature `yaml`) or JSON, one or many documents, lists, v1 and the three betas.
//!
//! Older versions are converted on input: v1beta1 and v1beta2 say `assuredConcurrencyShares`, and in
//! all betas a share of 0 means "absent" unless the annotation [`PRESERVE_ZERO`] is present.

use crate::object::{FlowSchema, GROUP, PriorityLevel};
use crate::validate::{self, FieldError};
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::path::Path;

/// The annotation that keeps a share of 0 through a round trip by v1beta3.
pub const PRESERVE_ZERO: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";

/// All objects of one configuration, defaulted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    /// The schemas, in the order read.
    pub flow_schemas: Vec<FlowSchema>,
    /// The levels, in the order read.
    pub priority_levels: Vec<PriorityLevel>,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or folder cannot be read.
    #[error("cannot read {path}")]
    File {
        /// What was asked for.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The text is not YAML or JSON.
    #[error("{origin} is not YAML or JSON: {message}")]
    Syntax {
        /// File or other origin of the text.
        origin: String,
        /// The parser's message with line and column.
        message: String,
    },
    /// A document is no object of this API.
    #[error("{origin}: document {index}: {message}")]
    Document {
        /// File or other origin of the text.
        origin: String,
        /// Position in the text, from 1.
        index: usize,
        /// What is wrong with it.
        message: String,
    },
    /// Objects are well formed but break rules.
    #[error("{}", Invalid(.0))]
    Invalid(Vec<ObjectErrors>),
}

/// The broken rules of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectErrors {
    /// Kind and name, such as `FlowSchema "probes"`.
    pub object: String,
    /// Every broken rule at its field path.
    pub errors: Vec<FieldError>,
}

impl Configuration {
    /// The built-in objects, mandatory and suggested.
    #[must_use]
    pub fn builtin() -> Self {
        crate::builtin::all()
    }

    /// One level for everybody, with 64 queues: users share the seats of the server fairly, whatever
    /// they ask for. `system:masters` and the mandatory objects stay as they are.
    #[must_use]
    pub fn by_user() -> Self {
        Self::from_own_text(include_str!("read/by_user.json")).expect("the embedded objects parse")
    }

    /// Reads every `.yaml`, `.yml` and `.json` file of a folder (or one file), by file name.
    ///
    /// # Errors
    /// Any file that cannot be read or parsed, and every broken rule of every object.
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.display().to_string(), source };
        let mut files = vec![path.to_path_buf()];
        if path.is_dir() {
            files = std::fs::read_dir(path)
                .and_then(|entries| {
                    entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>()
                })
                .map_err(failed)?;
            files.retain(|file| {
                file.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
            });
            files.sort();
        }
        let mut all = Self::default();
        for file in files {
            let text = std::fs::read_to_string(&file)
                .map_err(|source| Error::File { path: file.display().to_string(), source })?;
            all.add_text(&file.display().to_string(), &text)?;
        }
        all.checked()
    }

    /// Reads objects from text; `origin` names it in errors.
    ///
    /// # Errors
    /// Text that cannot be parsed, and every broken rule of every object.
    pub fn from_text(origin: &str, text: &str) -> Result<Self, Error> {
        let mut all = Self::default();
        all.add_text(origin, text)?;
        all.checked()
    }

    /// Adds the built-in objects that are not given, so that a folder need only hold what differs.
    #[must_use]
    pub fn with_builtin(mut self) -> Self {
        let builtin = Self::builtin();
        for schema in builtin.flow_schemas {
            if !self.flow_schemas.iter().any(|given| given.metadata.name == schema.metadata.name) {
                self.flow_schemas.push(schema);
            }
        }
        for level in builtin.priority_levels {
            if !self.priority_levels.iter().any(|given| given.metadata.name == level.metadata.name) {
                self.priority_levels.push(level);
            }
        }
        self
    }

    /// Reads objects that are part of this crate: validation compares others with them.
    pub(crate) fn from_own_text(text: &str) -> Result<Self, Error> {
        let mut all = Self::default();
        all.add_text("built-in objects", text)?;
        Ok(all.defaulted())
    }

    fn add_text(&mut self, origin: &str, text: &str) -> Result<(), Error> {
        let documents =
            documents(text).map_err(|message| Error::Syntax { origin: origin.to_owned(), message })?;
        for (index, document) in documents.into_iter().enumerate().filter(|(_, d)| !d.is_null()) {
            self.add(document).map_err(|message| Error::Document {
                origin: origin.to_owned(),
                index: index + 1,
                message,
            })?;
        }
        Ok(())
    }

    fn add(&mut self, mut document: Value) -> Result<(), String> {
        let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if kind == "List" || kind.ends_with("List") && version.starts_with(GROUP) {
            let items = document.get_mut("items").map(Value::take).unwrap_or_default();
            let items: Vec<Value> = serde_json::from_value(items).map_err(|e| e.to_string())?;
            for mut item in items {
                let inner = kind.trim_end_matches("List");
                if let Some(fields) = item.as_object_mut().filter(|_| !inner.is_empty()) {
                    fields.entry("apiVersion").or_insert_with(|| version.clone().into());
                    fields.entry("kind").or_insert_with(|| inner.into());
                }
                self.add(item)?;
            }
            return Ok(());
        }
        let version = match version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/')) {
            Some(known @ ("v1" | "v1beta1" | "v1beta2" | "v1beta3")) => known,
            _ => {
                return Err(format!(
                    "apiVersion {version:?} of kind {kind:?} is not {GROUP}/v1 or one of its betas"
                ));
            }
        };
        match kind.as_str() {
            "FlowSchema" => self.flow_schemas.push(parse(document)?),
            "PriorityLevelConfiguration" => {
                if version != "v1" {
                    convert_beta(&mut document, version)?;
                }
                self.priority_levels.push(parse(document)?);
            }
            other => return Err(format!("kind {other:?} is not FlowSchema or PriorityLevelConfiguration")),
        }
        Ok(())
    }

    fn defaulted(mut self) -> Self {
        self.flow_schemas.iter_mut().for_each(crate::defaults::flow_schema);
        self.priority_levels.iter_mut().for_each(crate::defaults::priority_level);
        self
    }

    fn checked(self) -> Result<Self, Error> {
        let all = self.defaulted();
        validate::configuration(&all).map_err(Error::Invalid)?;
        Ok(all)
    }
}

/// The documents of a text. JSON is YAML, but its own reader is the one that is always there.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let json = serde_json::Deserializer::from_str(text).into_iter().collect::<Result<Vec<Value>, _>>();
    #[cfg(feature = "yaml")]
    return json.or_else(|_| serde_saphyr::from_multiple(text).map_err(|e| e.to_string()));
    #[cfg(not(feature = "yaml"))]
    return json.map_err(|e| format!("{e} (YAML needs the feature `yaml`)"));
}

struct Invalid<'a>(&'a [ObjectErrors]);

impl fmt::Display for Invalid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, object) in self.0.iter().enumerate() {
            for (inner, error) in object.errors.iter().enumerate() {
                let break_before = if index + inner == 0 { "" } else { "\n" };
                write!(f, "{break_before}{}: {error}", object.object)?;
            }
        }
        Ok(())
    }
}

fn parse<T: for<'de> Deserialize<'de>>(document: Value) -> Result<T, String> {
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    serde_json::from_value(document).map_err(|e| format!("object {name:?}: {e}"))
}

fn convert_beta(document: &mut Value, version: &str) -> Result<(), String> {
    let keep_zero = document
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
        .is_some_and(|annotations| annotations.remove(PRESERVE_ZERO).is_some());
    let Some(limited) = document.pointer_mut("/spec/limited").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    // In v1beta3 the field has the name it has in v1; an older name there is unknown, and the other way round.
    if version != "v1beta3" {
        if limited.contains_key("nominalConcurrencyShares") {
            return Err(format!("unknown field `nominalConcurrencyShares` in {version}"));
        }
        if let Some(shares) = limited.remove("assuredConcurrencyShares") {
            limited.insert("nominalConcurrencyShares".into(), shares);
        }
    }
    let shares = limited.get("nominalConcurrencyShares").and_then(Value::as_i64).unwrap_or(0);
    if shares == 0 {
        limited.remove("nominalConcurrencyShares");
        if keep_zero {
            limited.insert("nominalConcurrencyShares".into(), 0.into());
        }
    }
    Ok(())
}
