//! All objects that were sent, as one snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::read::{Fact, Reading, Slice};
use crate::freshness::Freshness;
use crate::pool::Pool;
use crate::requests::Requests;
use crate::update::Arrivals;
use crate::{EndpointSlice, FactMap, Kind, ObjectId, ObjectName, SliceIndex, Snapshot, Update, Warning};

/// One change of what is known.
#[derive(Debug)]
pub(super) enum Delta {
    /// A list of all objects of a kind begins.
    Begin(Kind),
    /// An object is there, in this form.
    Put {
        /// Its kind.
        kind: Kind,
        /// What was read.
        reading: Box<Reading>,
        /// When it came.
        arrived: Instant,
    },
    /// An object is there no more.
    Gone {
        /// Its kind.
        kind: Kind,
        /// `namespace/name`, or `name`.
        name: String,
        /// When this was said.
        arrived: Instant,
    },
    /// The list that began has named every object of the kind.
    End(Kind),
    /// The kind cannot be followed, or can again.
    Trouble(Kind, Option<String>),
}

/// What is known of the cluster.
pub(super) struct Store {
    facts: Snapshot,
    slices: SliceIndex,
    /// Slices of ServiceImports; `None` where those are not followed.
    imported: Option<SliceIndex>,
    /// Kinds that have not been listed to their end yet.
    missing: BTreeSet<Kind>,
    /// Names that the lists under way have come to.
    listing: BTreeMap<Kind, BTreeSet<String>>,
    objects: BTreeMap<(Kind, String), Vec<Warning>>,
    troubles: BTreeMap<Kind, Warning>,
    pool: Pool,
    arrivals: Arrivals,
    changed: bool,
    warned: bool,
    last: Update,
}

impl Delta {
    /// An object as it was read; one without a name is told of as such.
    pub(super) fn put(kind: Kind, reading: serde_json::Result<Reading>, arrived: Instant) -> Self {
        let reading = reading.unwrap_or_else(|error| {
            let id = ObjectId { kind, name: String::new() };
            let fact = Err(id.warning("", format!("an object without a name was sent: {error}")));
            Reading { name: String::new(), position: None, fact, notes: Vec::new() }
        });
        Self::Put { kind, reading: Box::new(reading), arrived }
    }
}

impl Store {
    /// Nothing is known of any of these kinds.
    pub(super) fn new(
        kinds: impl IntoIterator<Item = Kind>,
        freshness: Freshness,
        requests: Requests,
    ) -> Self {
        let arrivals = Arrivals::default();
        let missing: BTreeSet<Kind> = kinds.into_iter().collect();
        Self {
            facts: Snapshot::default(),
            slices: SliceIndex::default(),
            imported: missing.contains(&Kind::ServiceImport).then(SliceIndex::default),
            missing,
            listing: BTreeMap::new(),
            objects: BTreeMap::new(),
            troubles: BTreeMap::new(),
            pool: Pool::default(),
            last: Update { arrivals: arrivals.clone(), freshness, requests, ..Update::default() },
            arrivals,
            changed: true,
            warned: false,
        }
    }

    /// Takes in a change.
    pub(super) fn apply(&mut self, delta: Delta) {
        match delta {
            Delta::Begin(kind) => _ = self.listing.insert(kind, BTreeSet::new()),
            Delta::Put { kind, reading, arrived } => self.put(kind, *reading, arrived),
            Delta::Gone { kind, name, arrived } => self.forget(kind, &name, arrived),
            Delta::End(kind) => self.end(kind),
            Delta::Trouble(kind, Some(problem)) => self.trouble(kind, problem),
            Delta::Trouble(kind, None) => self.warned |= self.troubles.remove(&kind).is_some(),
        }
    }

    /// What holds now, if that is not what was told last. Nothing until every kind was listed.
    pub(super) fn update(&mut self) -> Option<Update> {
        if !self.missing.is_empty() || !(self.changed || self.warned) {
            return None;
        }
        if std::mem::take(&mut self.changed) {
            let slices = self.slices.slices().clone();
            let imported = self.imported.as_ref().map(|all| all.slices().clone()).unwrap_or_default();
            self.last.snapshot = Arc::new(Snapshot { slices, imported, ..self.facts.clone() });
        }
        if std::mem::take(&mut self.warned) {
            let all = self.troubles.values().chain(self.objects.values().flatten());
            self.last.warnings = all.cloned().collect();
        }
        Some(self.last.clone())
    }

    fn put(&mut self, kind: Kind, reading: Reading, arrived: Instant) {
        let Reading { name, fact, mut notes, .. } = reading;
        if let Some(named) = self.listing.get_mut(&kind) {
            named.insert(name.clone());
        }
        match fact {
            Ok(fact) => self.insert(kind, &name, fact, arrived),
            Err(warning) => {
                let problem =
                    format!("{}; its last good form, if there was one, stays in force", warning.problem);
                notes = vec![Warning { problem, ..warning }];
            }
        }
        self.warn(kind, name, notes);
    }

    fn insert(&mut self, kind: Kind, name: &str, fact: Fact, arrived: Instant) {
        let facts = &mut self.facts;
        let (services, slices, triggered) = match fact {
            Fact::Service(mut service) => {
                self.pool.service(&mut service);
                let changed = replace(&mut facts.services, service.name.clone(), Arc::from(service));
                (changed, false, None)
            }
            Fact::Slice(Slice { own, imported, triggered }) => {
                if let Some(all) = &mut self.imported {
                    self.changed |= replace_slice(all, &mut self.pool, name, imported);
                }
                let service = own.as_ref().map(|own| own.service.clone());
                let changed = replace_slice(&mut self.slices, &mut self.pool, name, own);
                if let (true, Some(service), Some(at)) = (changed, service, triggered) {
                    self.last.triggers.note(service, at);
                }
                (false, changed, triggered)
            }
            Fact::ServiceImport(import) => {
                self.changed |= replace(&mut facts.imports, import.name.clone(), import);
                return;
            }
            Fact::Pod(pod) => {
                self.changed |= replace(&mut facts.pods, pod.name.clone(), pod);
                return;
            }
            Fact::Node(node) => {
                self.changed |= replace(&mut facts.nodes, node.name.clone(), node);
                return;
            }
            Fact::Namespace(namespace) => {
                self.changed |= replace(&mut facts.namespaces, namespace.name.clone(), namespace);
                return;
            }
            Fact::ServiceCidr(range) => {
                self.changed |= replace(&mut facts.service_cidrs, range.name.clone(), range);
                return;
            }
            Fact::Nothing => return self.remove(kind, name, arrived),
        };
        if services || slices {
            self.changed = true;
            self.arrivals.note(arrived, |waiting| {
                waiting.services += u64::from(services);
                waiting.slices += u64::from(slices);
                triggered.into_iter().for_each(|at| waiting.triggered(at));
            });
        }
    }

    /// The object and what was wrong with it are gone.
    fn forget(&mut self, kind: Kind, name: &str, arrived: Instant) {
        if let Some(named) = self.listing.get_mut(&kind) {
            named.remove(name);
        }
        self.remove(kind, name, arrived);
        self.warn(kind, name.to_owned(), Vec::new());
    }

    fn remove(&mut self, kind: Kind, name: &str, arrived: Instant) {
        let object = name.split_once('/').map(|(namespace, name)| ObjectName::new(namespace, name));
        let facts = &mut self.facts;
        let gone = match (kind, object) {
            (Kind::Service, Some(name)) => facts.services.remove(&name).is_some(),
            (Kind::EndpointSlice, Some(name)) => {
                self.changed |= self.imported.as_mut().is_some_and(|all| all.remove(&name));
                self.slices.remove(&name)
            }
            (Kind::ServiceImport, Some(name)) => facts.imports.remove(&name).is_some(),
            (Kind::Pod, Some(name)) => facts.pods.remove(&name).is_some(),
            (Kind::Node, None) => facts.nodes.remove(name).is_some(),
            (Kind::Namespace, None) => facts.namespaces.remove(name).is_some(),
            (Kind::ServiceCidr, None) => facts.service_cidrs.remove(name).is_some(),
            _ => false,
        };
        self.changed |= gone;
        if gone && matches!(kind, Kind::Service | Kind::EndpointSlice) {
            self.arrivals.note(arrived, |waiting| match kind {
                Kind::Service => waiting.services += 1,
                _ => waiting.slices += 1,
            });
        }
    }

    /// Whatever the list did not name is gone.
    fn end(&mut self, kind: Kind) {
        let Some(named) = self.listing.remove(&kind) else { return };
        let warned = self.objects.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone());
        let known = self.known(kind).into_iter().chain(warned);
        let gone: BTreeSet<String> = known.filter(|name| !named.contains(name)).collect();
        for name in gone {
            self.forget(kind, &name, Instant::now());
        }
        self.missing.remove(&kind);
    }

    fn known(&self, kind: Kind) -> Vec<String> {
        let facts = &self.facts;
        match kind {
            Kind::Service => facts.services.keys().map(ToString::to_string).collect(),
            Kind::EndpointSlice => {
                let imported = self.imported.iter().flat_map(SliceIndex::names);
                self.slices.names().chain(imported).map(ToString::to_string).collect()
            }
            Kind::ServiceImport => facts.imports.keys().map(ToString::to_string).collect(),
            Kind::Pod => facts.pods.keys().map(ToString::to_string).collect(),
            Kind::Node => facts.nodes.keys().map(ToString::to_string).collect(),
            Kind::Namespace => facts.namespaces.keys().map(ToString::to_string).collect(),
            Kind::ServiceCidr => facts.service_cidrs.keys().map(ToString::to_string).collect(),
            Kind::Endpoints => Vec::new(),
        }
    }

    /// Replaces what is wrong with an object.
    fn warn(&mut self, kind: Kind, name: String, warnings: Vec<Warning>) {
        let key = (kind, name);
        let before = self.objects.get(&key).map(Vec::as_slice).unwrap_or_default();
        if before == warnings {
            return;
        }
        self.warned = true;
        if warnings.is_empty() {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key, warnings);
        }
    }

    /// Told at once while there are no facts yet that it could be told with.
    fn trouble(&mut self, kind: Kind, problem: String) {
        // The first trouble of an outage stands for all of them.
        if self.troubles.contains_key(&kind) {
            return;
        }
        if !self.missing.is_empty() {
            tracing::warn!("{problem}");
        }
        let warning = Warning { place: None, object: None, field: String::new(), problem };
        self.troubles.insert(kind, warning);
        self.warned = true;
    }
}

/// Puts a slice in, or takes the one of this name away. Whether that is a change.
fn replace_slice(
    all: &mut SliceIndex,
    pool: &mut Pool,
    name: &str,
    slice: Option<Box<EndpointSlice>>,
) -> bool {
    let Some(mut slice) = slice else {
        let name = name.split_once('/').map(|(namespace, name)| ObjectName::new(namespace, name));
        return name.is_some_and(|name| all.remove(&name));
    };
    pool.slice(&mut slice);
    let changed = all.get(&slice.name).is_none_or(|known| **known != *slice);
    if changed {
        all.insert(Arc::from(slice));
    }
    changed
}

/// Whether the value is another one than before.
fn replace<K: Ord + Clone, V: Eq>(map: &mut FactMap<K, Arc<V>>, key: K, value: Arc<V>) -> bool {
    let changed = map.get(&key) != Some(&value);
    if changed {
        map.insert(key, value);
    }
    changed
}
