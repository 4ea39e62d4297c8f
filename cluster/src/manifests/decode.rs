//! The text of a file, decoded into objects and what is wrong with it.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::document::{Document, documents};
use super::header::{Announced, Header, version_of};
use super::object::{Object, Refusal, read};
use super::shape::{Misfit, Source};
use super::unread;
use crate::{Kind, ObjectId, Place, Warning};

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
    let file = Arc::from(file);
    for document in documents(text) {
        contents.documents += 1;
        contents.add_document(&file, document);
    }
    contents
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Option<Vec<Spanned<Value>>>,
}

impl Contents {
    fn add_document(&mut self, file: &Arc<Path>, document: Document<'_>) {
        let place = |line: u64| {
            let line = document.first_line + line.max(1) - 1;
            Place { file: Arc::clone(file), document: document.number, line }
        };
        let header: Header = match document.text.decode(&mut Vec::new()) {
            Ok(header) => header,
            Err(misfit) => return self.faults.push(broken(place(misfit.line), None, misfit)),
        };
        let start = place(document.content_line);
        match header.announced() {
            Announced::Object(kind) => self.add_object(kind, &header, document.text, &start, place),
            Announced::List(element) => match document.text.decode::<List>(&mut Vec::new()) {
                Ok(list) => {
                    for item in list.items.into_iter().flatten() {
                        self.add_item(place(item.referenced.line()), element, item.value);
                    }
                }
                Err(misfit) => self.faults.push(broken(place(misfit.line), None, misfit)),
            },
            other => self.add_other(start, &other),
        }
    }

    fn add_item(&mut self, place: Place, element: Option<Kind>, value: Value) {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let header = Header {
            api_version: text("apiVersion"),
            kind: text("kind"),
            metadata: value.get("metadata").cloned(),
        };
        match (header.announced(), element) {
            // Items of a typed list leave kind and version to the list.
            (Announced::Nothing(_), Some(kind)) | (Announced::Object(kind), _) => {
                self.add_object(kind, &header, value, &place, |_| place.clone());
            }
            (Announced::List(_), _) => {
                self.faults.push(Warning::of_place(place, "a list within a list is not read"));
            }
            (other, _) => self.add_other(place, &other),
        }
    }

    fn add_object(
        &mut self,
        kind: Kind,
        header: &Header,
        source: impl Source,
        start: &Place,
        place_of: impl Fn(u64) -> Place,
    ) {
        let (mut unknown, mut notes) = (Vec::new(), Vec::new());
        match read(kind, source, &mut unknown, &mut notes) {
            Ok(Some(object)) => self.objects.push((start.clone(), object)),
            Ok(None) => {}
            Err(Refusal::Shape(misfit)) => {
                self.faults.push(broken(place_of(misfit.line), header.id(kind), misfit));
            }
            Err(Refusal::Content(warning)) => self.faults.push(warning.at(start.clone())),
        }
        let problem = format!("is not a field of this {kind}; ignored");
        unknown.retain(|field| !unread::known(kind, field));
        notes.extend(unknown.into_iter().map(|field| Warning {
            place: None,
            object: header.id(kind),
            field,
            problem: problem.clone(),
        }));
        self.notes.extend(notes.into_iter().map(|note| note.at(start.clone())));
    }

    fn add_other(&mut self, place: Place, announced: &Announced) {
        match announced {
            Announced::UnknownVersion(kind, version) => {
                let known = version_of(*kind);
                let problem = format!("{kind} of apiVersion {version:?} is not read, only that of {known:?}");
                self.notes.push(Warning::of_place(place, problem));
            }
            Announced::Nothing(missing) => {
                self.faults.push(Warning::of_place(place, format!("{missing} is missing")));
            }
            Announced::Unread => tracing::debug!(%place, "an object of a kind that is not read"),
            Announced::Object(_) | Announced::List(_) => {}
        }
    }
}

fn broken(place: Place, object: Option<ObjectId>, misfit: Misfit) -> Warning {
    let problem = format!("cannot be read: {}", misfit.message);
    Warning { place: Some(place), object, field: misfit.field, problem }
}
