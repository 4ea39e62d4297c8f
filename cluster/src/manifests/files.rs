//! All files of a folder, as far as they are in force, merged into one snapshot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decode::Contents;
use super::object::Object;
use crate::controller::{Inputs, add_slices};
use crate::pool::Pool;
use crate::{Kind, ObjectId, Place, SliceIndex, Snapshot, Warning};

/// What each file contributes. No file is touched here: texts come in, a snapshot comes out.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<PathBuf, InForce>,
    pool: Pool,
}

#[derive(Debug, Default)]
struct InForce {
    objects: Vec<(Place, Object)>,
    warnings: Vec<Warning>,
}

impl Files {
    /// Takes in what a file holds. If something in it cannot be read, what the file contributed
    /// before stays as it was; a file that contributed nothing yet does so as far as it is sound.
    pub(super) fn put(&mut self, file: &Path, mut contents: Contents) {
        let entry = self.files.entry(file.to_owned()).or_default();
        if contents.documents == 0 && !entry.objects.is_empty() {
            contents.faults.push(about(file, "is blank"));
        }
        if contents.faults.is_empty() || entry.objects.is_empty() {
            contents.objects.iter_mut().for_each(|(_, object)| object.share(&mut self.pool));
            contents.objects.shrink_to_fit();
            entry.objects = contents.objects;
        } else {
            contents.notes = vec![about(file, &stays(entry.objects.len()))];
        }
        entry.warnings = contents.faults;
        entry.warnings.append(&mut contents.notes);
    }

    /// Notes that a file could not be read at all.
    pub(super) fn fail(&mut self, file: &Path, problem: &str) {
        let entry = self.files.entry(file.to_owned()).or_default();
        entry.warnings = vec![about(file, problem)];
        if !entry.objects.is_empty() {
            entry.warnings.push(about(file, &stays(entry.objects.len())));
        }
    }

    /// Forgets the files that are not `present`; tells whether there was one.
    pub(super) fn retain(&mut self, present: impl Fn(&Path) -> bool) -> bool {
        let before = self.files.len();
        self.files.retain(|file, _| present(file));
        self.files.len() < before
    }

    /// The snapshot of all files, and all warnings in order. It depends on what each file
    /// contributes, not on the order in which they were put.
    pub(super) fn merge(&self) -> (Snapshot, Vec<Warning>) {
        let mut warnings: Vec<Warning> = Vec::new();
        let mut first_places: BTreeMap<(Kind, String), &Place> = BTreeMap::new();
        let mut facts = Facts::default();
        for file in self.files.values() {
            warnings.extend(file.warnings.iter().cloned());
            for (place, object) in &file.objects {
                let id = ObjectId { kind: object.kind(), name: object.name().to_string() };
                match first_places.get(&(id.kind, id.name.clone())) {
                    None => {
                        first_places.insert((id.kind, id.name), place);
                        facts.add(object);
                    }
                    Some(first) => {
                        let problem = format!("is left out: the one in {first} counts");
                        warnings.push(id.warning("", problem).at(place.clone()));
                    }
                }
            }
        }
        let (snapshot, unread) = facts.into_snapshot();
        warnings.extend(unread.into_iter().map(|warning| {
            let place = warning.object.as_ref().and_then(|id| first_places.get(&(id.kind, id.name.clone())));
            Warning { place: place.map(|place| (*place).clone()), ..warning }
        }));
        warnings.sort();
        warnings.dedup();
        (snapshot, warnings)
    }
}

/// The objects of all files, each once.
#[derive(Default)]
struct Facts {
    snapshot: Snapshot,
    slices: SliceIndex,
    imported: SliceIndex,
    inputs: Inputs,
}

impl Facts {
    fn add(&mut self, object: &Object) {
        let snapshot = &mut self.snapshot;
        match object.clone() {
            Object::Service(service, families) => {
                self.inputs.families.insert(service.name.clone(), families);
                snapshot.services.insert(service.name.clone(), service);
            }
            Object::EndpointSlice([own, imported]) => {
                own.into_iter().for_each(|slice| self.slices.insert(slice));
                imported.into_iter().for_each(|slice| self.imported.insert(slice));
            }
            Object::Endpoints(mirror) => {
                self.inputs.endpoints.insert(mirror.name.clone(), Arc::clone(&mirror.slices));
            }
            Object::Pod(pod) => {
                snapshot.pods.insert(pod.name.clone(), pod);
            }
            Object::Node(node) => {
                snapshot.nodes.insert(node.name.clone(), node);
            }
            Object::Namespace(namespace) => {
                snapshot.namespaces.insert(namespace.name.clone(), namespace);
            }
            Object::ServiceCidr(range) => {
                snapshot.service_cidrs.insert(range.name.clone(), range);
            }
            Object::ServiceImport(import) => {
                snapshot.imports.insert(import.name.clone(), import);
            }
        }
    }

    fn into_snapshot(self) -> (Snapshot, Vec<Warning>) {
        let (slices, imported) = (self.slices.into_slices(), self.imported.into_slices());
        let mut snapshot = Snapshot { slices, imported, ..self.snapshot };
        let warnings = add_slices(&mut snapshot, &self.inputs);
        (snapshot, warnings)
    }
}

fn about(file: &Path, problem: &str) -> Warning {
    Warning::of_place(Place::whole(file), problem)
}

fn stays(objects: usize) -> String {
    format!("the last good content of this file stays in force ({objects} objects) until it can be read")
}
