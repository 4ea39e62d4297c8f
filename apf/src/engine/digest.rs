//! From objects to the table that requests are classified by.
//!
//! The whole set is digested each time. Queues and requests in flight survive: a level keeps its queue
//! set for as long as it has an object, and without one until it is idle.

use super::{Engine, Names, Occasion, Route};
use crate::annotations;
use crate::builtin;
use crate::classify::{self, Classifier};
use crate::deal::Dealer;
use crate::flow::{self, Distinguisher};
use crate::level::{Level, Waiter};
use crate::limits::Wishes;
use crate::object::{FlowSchema, PriorityLevel};
use crate::queueset::QueueSet;
use crate::read::Configuration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a digestion found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digested {
    /// For every schema given, whether its level exists.
    pub dangling: Vec<Dangling>,
    /// Levels left out because they break rules: they count as absent.
    pub ignored_levels: Vec<String>,
    /// Levels without an object that still have requests.
    pub quiescing: Vec<String>,
}

/// Whether a schema's level exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dangling {
    /// The schema.
    pub schema: String,
    /// The level it names.
    pub level: String,
    /// Whether that level is missing.
    pub dangling: bool,
}

type Levels<W> = BTreeMap<Arc<str>, Arc<Level<W>>>;

impl<W: Waiter> Engine<W> {
    /// Puts a configuration in force, with requests in flight. Objects should have been checked by
    /// [`crate::validate`]; levels that break rules all the same are left out and reported.
    pub fn digest(&self, now_ns: u64, configuration: &Configuration) -> Digested {
        let mut digested = Digested::default();
        let mut table = self.table.write();
        let given = self.given_levels(now_ns, configuration, &table.levels, &mut digested);
        let mut named: Vec<Arc<str>> = given.keys().cloned().collect();
        // These exist whether an object says so or not.
        named.extend([builtin::EXEMPT, builtin::CATCH_ALL].map(Arc::from));
        let levels = self.with_old_levels(now_ns, given, &table.levels, &mut digested);
        let schemas = effective_schemas(configuration, &named, &mut digested);
        table.classifier = Classifier::new(schemas.iter().map(|schema| &schema.spec));
        table.routes = schemas.iter().filter_map(|schema| compiled(schema, &levels)).map(Arc::new).collect();
        table.levels = levels;
        table.find_catch_all();
        self.set_limits(now_ns, &table.levels);
        self.adjust(&table, now_ns, &Occasion::Tick);
        digested
    }

    /// Forgets levels that have no object and no request any more.
    pub(super) fn forget_quiescent(&self) {
        let mut table = self.table.write();
        let before = table.levels.len();
        table.levels.retain(|_, level| {
            let state = level.state();
            !(state.quiescing && state.queues.is_idle() && state.queues.totals().seats_in_use == 0)
        });
        if table.levels.len() < before {
            self.set_limits_of(&table.levels);
        }
    }

    fn given_levels(
        &self,
        now_ns: u64,
        configuration: &Configuration,
        old: &Levels<W>,
        digested: &mut Digested,
    ) -> Levels<W> {
        let mut levels = Levels::new();
        for object in &configuration.priority_levels {
            let name = object.metadata.name.as_str();
            match self.keep_or_create(now_ns, object, old.get(name)) {
                Some(level) => {
                    levels.insert(Arc::clone(level.name()), level);
                }
                None => digested.ignored_levels.push(name.to_owned()),
            }
        }
        levels
    }

    fn keep_or_create(
        &self,
        now_ns: u64,
        object: &PriorityLevel,
        old: Option<&Arc<Level<W>>>,
    ) -> Option<Arc<Level<W>>> {
        let (name, uid) = (object.metadata.name.as_str(), object.metadata.uid.as_str());
        let wishes = Wishes::of(&object.spec)?;
        let max_wait = annotations::max_wait(&object.metadata).ok().flatten();
        let shadow = annotations::shadow(&object.metadata).unwrap_or(false);
        let deals = wishes.queues.is_none_or(|(n, hand, _)| Dealer::new(n.into(), hand.into()).is_ok());
        if wishes.exempt != (name == builtin::EXEMPT) || !deals {
            return None;
        }
        if let Some(level) = old {
            let seats = level.state().queues.config().seats;
            let done = level.with(|state| {
                state.wishes = wishes;
                state.uid = uid.into();
                state.quiescing = false;
                state.queues.reconfigure(now_ns, wishes.shape(seats))
            });
            level.set_max_wait(max_wait);
            level.set_shadow(shadow);
            return done.is_ok().then(|| Arc::clone(level));
        }
        let queues = QueueSet::new(wishes.shape(0), self.settings.behaviour, now_ns).ok()?;
        let level = Level::new(name, uid, wishes, queues);
        level.set_max_wait(max_wait);
        level.set_shadow(shadow);
        Some(Arc::new(level))
    }

    /// Adds levels without an object: mandatory ones, and those that still have requests.
    fn with_old_levels(
        &self,
        now_ns: u64,
        mut levels: Levels<W>,
        old: &Levels<W>,
        digested: &mut Digested,
    ) -> Levels<W> {
        for (name, level) in old {
            if levels.contains_key(name) {
                continue;
            }
            let mut state = level.state();
            let is_mandatory = builtin::mandatory_level(name).is_some();
            if !is_mandatory && state.queues.is_idle() {
                continue;
            }
            if !is_mandatory {
                state.quiescing = true;
                digested.quiescing.push(name.to_string());
            }
            levels.insert(Arc::clone(name), Arc::clone(level));
        }
        for object in &builtin::BUILTIN.mandatory.priority_levels {
            if !levels.contains_key(object.metadata.name.as_str()) {
                let mut object = object.clone();
                object.metadata.uid.clear();
                if let Some(level) = self.keep_or_create(now_ns, &object, None) {
                    levels.insert(Arc::clone(level.name()), level);
                }
            }
        }
        levels
    }

    fn set_limits(&self, now_ns: u64, levels: &Levels<W>) {
        let (executing, waiting) = self.set_limits_of(levels);
        let mut in_flight = self.in_flight.lock();
        in_flight.set_capacity(executing, waiting);
        drop(in_flight);
        for level in levels.values().filter(|level| level.state().queues.config().seats == 0) {
            // A level that is new has seats until the first adjustment as if it lent half of what it may.
            let limits = level.state().limits;
            let seats = limits.nominal - (limits.nominal - limits.min) / 2;
            level.with(|state| state.queues.set_seats(now_ns, seats));
        }
    }

    pub(super) fn set_limits_of(&self, levels: &Levels<W>) -> (u64, u64) {
        let share_sum = levels.values().map(|level| u64::from(level.state().wishes.shares)).sum();
        let (mut executing, mut waiting) = (0, 0);
        for level in levels.values() {
            let mut state = level.state();
            state.limits = state.wishes.limits(self.server_seats(), share_sum);
            level.set_max_seats(state.wishes.max_seats(state.limits.nominal));
            executing += u64::from(state.limits.nominal);
            if let Some((queues, _, length)) = state.wishes.queues {
                waiting += u64::from(queues.unsigned_abs()) * u64::from(length.unsigned_abs());
            }
        }
        (executing, waiting)
    }
}

/// The schemas in effective order: without dangling ones, with the mandatory ones.
fn effective_schemas(
    configuration: &Configuration,
    levels: &[Arc<str>],
    digested: &mut Digested,
) -> Vec<FlowSchema> {
    let mut schemas = Vec::new();
    for schema in &configuration.flow_schemas {
        let level = schema.spec.priority_level_configuration.name.as_str();
        let dangling = !levels.iter().any(|known| &**known == level);
        digested.dangling.push(Dangling {
            schema: schema.metadata.name.clone(),
            level: level.to_owned(),
            dangling,
        });
        if !dangling {
            schemas.push(schema.clone());
        }
    }
    classify::sort(&mut schemas);
    for mandatory in &builtin::BUILTIN.mandatory.flow_schemas {
        let name = &mandatory.metadata.name;
        if !schemas.iter().any(|schema| schema.metadata.name == *name) {
            let first = name == builtin::EXEMPT;
            schemas.insert(if first { 0 } else { schemas.len() }, mandatory.clone());
        }
    }
    schemas
}

fn compiled<W: Waiter>(schema: &FlowSchema, levels: &Levels<W>) -> Option<Route<W>> {
    let level = Arc::clone(levels.get(schema.spec.priority_level_configuration.name.as_str())?);
    let name: Arc<str> = schema.metadata.name.as_str().into();
    let mut state = level.state();
    let has_flows = state.wishes.queues.is_some_and(|(queues, ..)| queues > 1);
    let method = schema.spec.distinguisher_method.as_ref().map(|method| method.kind.as_str());
    let distinguisher = if has_flows { Distinguisher::from_api(method) } else { Distinguisher::None };
    let rows = [false, true].map(|is_watch| state.queues.schema(&name, distinguisher, is_watch));
    let level_uid = Arc::clone(&state.uid);
    drop(state);
    let prefix = has_flows.then(|| flow::prefix(&name));
    let level_name = Arc::clone(level.name());
    let names =
        Names { schema: name, schema_uid: schema.metadata.uid.as_str().into(), level: level_name, level_uid };
    // A weight that breaks the rules was reported by validation.
    let weight = annotations::flow_weight(&schema.metadata).ok().flatten().unwrap_or(1);
    Some(Route { names, distinguisher, prefix, level, weight, rows })
}
