//! The text of a file, decoded into objects and what is wrong with it.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{DefaultMessageFormatter, MessageFormatter, Options, Spanned};

use super::document::{Document, documents};
use super::object::{Object, Refusal, Source, read};
use crate::{Kind, Place, Warning};

/// The limit on parser events and nodes in one document; a slice of 100,000 endpoints has about
/// two million.
const YAML_NODES_MAX: usize = 50_000_000;
/// The limit on the text of all scalars of one document.
const YAML_SCALAR_BYTES_MAX: usize = 512 << 20;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The objects that could be read, with their places.
    pub(super) objects: Vec<(Place, Object)>,
    /// What could not be read.
    pub(super) faults: Vec<Warning>,
    /// What could be read but is doubtful.
    pub(super) notes: Vec<Warning>,
    /// The number of documents that hold anything.
    pub(super) documents: usize,
}

/// Decodes a file's text; `file` is for the places alone.
pub(super) fn contents(file: &Path, text: &str) -> Contents {
    let mut contents = Contents::default();
    for document in documents(text) {
        contents.documents += 1;
        contents.add_document(file, document);
    }
    contents
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Option<Vec<Spanned<Value>>>,
}

/// What a header announces.
enum Announced {
    Object(Kind),
    List(Option<Kind>),
    Unread,
    UnknownVersion(Kind, String),
    Nothing(&'static str),
}

impl Contents {
    fn add_document(&mut self, file: &Path, document: Document<'_>) {
        let place = |line| Place { file: file.to_owned(), document: document.number, line };
        let broken = |error: &serde_saphyr::Error| {
            let line = error.location().map_or(1, |location| location.line().max(1));
            fault(place(document.first_line + line - 1), message(error))
        };
        let header: Header = match parse(document.text) {
            Ok(header) => header,
            Err(error) => return self.faults.push(broken(&error)),
        };
        let start = place(first_content_line(document));
        match announced(header) {
            Announced::Object(kind) => self.add_object(&start, kind, document.text, broken),
            Announced::List(element) => match parse::<List>(document.text) {
                Ok(list) => {
                    for item in list.items.into_iter().flatten() {
                        let line = item.referenced.line().max(1);
                        self.add_item(place(document.first_line + line - 1), element, item.value);
                    }
                }
                Err(error) => self.faults.push(broken(&error)),
            },
            other => self.add_other(start, &other),
        }
    }

    fn add_item(&mut self, place: Place, element: Option<Kind>, value: Value) {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let header = Header { api_version: text("apiVersion"), kind: text("kind") };
        let broken = |error: &serde_json::Error| fault(place.clone(), error.to_string());
        match (announced(header), element) {
            // Items of a typed list leave kind and version to the list.
            (Announced::Nothing(_), Some(kind)) | (Announced::Object(kind), _) => {
                self.add_object(&place, kind, value, broken);
            }
            (Announced::List(_), _) => self.faults.push(fault(place, "is a list within a list".to_owned())),
            (other, _) => self.add_other(place, &other),
        }
    }

    fn add_object<S: Source>(
        &mut self,
        place: &Place,
        kind: Kind,
        source: S,
        broken: impl FnOnce(&S::Fault) -> Warning,
    ) {
        let mut notes = Vec::new();
        match read(kind, source, &mut notes) {
            Ok(Some(object)) => self.objects.push((place.clone(), object)),
            Ok(None) => {}
            Err(Refusal::Shape(error)) => {
                let mut fault = broken(&error);
                fault.problem = format!("this {kind} cannot be read: {}", fault.problem);
                self.faults.push(fault);
            }
            Err(Refusal::Content(warning)) => self.faults.push(warning.at(place.clone())),
        }
        self.notes.extend(notes.into_iter().map(|note| note.at(place.clone())));
    }

    fn add_other(&mut self, place: Place, announced: &Announced) {
        match announced {
            Announced::UnknownVersion(kind, version) => {
                let problem =
                    format!("{kind} of version {version:?} is not read; write {}", version_of(*kind));
                self.notes.push(fault(place, problem));
            }
            Announced::Nothing(missing) => self.faults.push(fault(place, format!("{missing} is missing"))),
            Announced::Unread => tracing::debug!(%place, "an object of a kind that is not read"),
            Announced::Object(_) | Announced::List(_) => {}
        }
    }
}

fn announced(header: Header) -> Announced {
    let Some(kind) = header.kind.filter(|kind| !kind.is_empty()) else { return Announced::Nothing("kind") };
    let Some(version) = header.api_version.filter(|version| !version.is_empty()) else {
        return Announced::Nothing("apiVersion");
    };
    let element = kind.strip_suffix("List");
    match (known(&kind), element.and_then(known)) {
        (Some(kind), _) if version == version_of(kind) => Announced::Object(kind),
        (_, Some(kind)) if version == version_of(kind) => Announced::List(Some(kind)),
        (Some(kind), _) | (_, Some(kind)) => Announced::UnknownVersion(kind, version),
        _ if kind == "List" && version == "v1" => Announced::List(None),
        _ => Announced::Unread,
    }
}

fn known(kind: &str) -> Option<Kind> {
    const KINDS: [Kind; 6] =
        [Kind::Namespace, Kind::Node, Kind::Pod, Kind::Service, Kind::EndpointSlice, Kind::Endpoints];
    KINDS.into_iter().find(|known| known.to_string() == kind)
}

fn version_of(kind: Kind) -> &'static str {
    match kind {
        Kind::EndpointSlice => "discovery.k8s.io/v1",
        Kind::Namespace | Kind::Node | Kind::Pod | Kind::Service | Kind::Endpoints => "v1",
    }
}

impl Source for &str {
    type Fault = serde_saphyr::Error;

    fn decode<T: DeserializeOwned>(self) -> Result<T, Self::Fault> {
        parse(self)
    }
}

impl Source for Value {
    type Fault = serde_json::Error;

    fn decode<T: DeserializeOwned>(self) -> Result<T, Self::Fault> {
        serde_json::from_value(self)
    }
}

/// Parses one document. JSON is YAML, so one parser, and one way to name lines, serves both.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let options: Options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: YAML_NODES_MAX,
            max_nodes: YAML_NODES_MAX,
            max_total_scalar_bytes: YAML_SCALAR_BYTES_MAX,
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// The parser's message without its place, which the warning names in its own way.
fn message(error: &serde_saphyr::Error) -> String {
    DefaultMessageFormatter.format_message(error.without_snippet()).into_owned()
}

fn fault(place: Place, problem: String) -> Warning {
    Warning { place: Some(place), object: None, field: String::new(), problem }
}

/// The line of the document at which its content begins.
fn first_content_line(document: Document<'_>) -> u64 {
    let lines = (document.first_line..).zip(document.text.lines());
    let blank = |line: &str| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        line.is_empty() || line.starts_with('#')
    };
    lines.into_iter().find(|(_, line)| !blank(line)).map_or(document.first_line, |(number, _)| number)
}
