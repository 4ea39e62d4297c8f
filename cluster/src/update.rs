//! What a source hands out: the facts in force, what is wrong with them, and what is new.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use crate::freshness::Freshness;
use crate::requests::Requests;
use crate::{ServiceName, Snapshot, Warning};

/// Trigger times that are kept until somebody takes them.
const TRIGGERS_MAX: usize = 4096;

/// The facts of a source and what is wrong with it, both at one moment.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// The snapshot in force.
    pub snapshot: Arc<Snapshot>,
    /// Everything that is wrong now, in order and without repetition. A warning stays here until
    /// its cause is gone.
    pub warnings: Arc<[Warning]>,
    /// What arrived and was not taken yet; shared by all updates of a source.
    pub arrivals: Arrivals,
    /// What led to changes of slices and was not taken yet; shared by all updates of a source.
    pub triggers: Triggers,
    /// When the facts were confirmed; shared by all updates of a source.
    pub freshness: Freshness,
    /// What was asked of the API server; shared by all updates of a source.
    pub requests: Requests,
}

/// Changes that arrived since the last [`take`](Self::take). Whoever puts snapshots in force takes
/// them, and so learns how long the oldest has waited, also when a later snapshot replaced the one
/// that it came with.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<Waiting>>);

/// Services whose endpoints changed, and when the cluster noticed why (the annotation
/// `endpoints.kubernetes.io/last-change-trigger-time`); the last 4096 that nobody took. They are apart from
/// [`Arrivals`], for packets and names are put in force one by one.
#[derive(Clone, Debug, Default)]
pub struct Triggers(Arc<Mutex<VecDeque<(ServiceName, SystemTime)>>>);

/// Changes that wait to be put in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// When the oldest of them arrived.
    pub since: Option<Instant>,
    /// Changes of Services.
    pub services: u64,
    /// Changes of slices.
    pub slices: u64,
    /// When the cluster noticed what led to a slice's change (the annotation
    /// `endpoints.kubernetes.io/last-change-trigger-time`); the last 4096.
    pub triggers: VecDeque<SystemTime>,
}

impl Update {
    /// Whether both are the same facts with the same warnings.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.snapshot, &other.snapshot) && self.warnings == other.warnings
    }
}

impl Arrivals {
    /// What waits now; it goes on waiting.
    pub fn waiting(&self) -> Waiting {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What has waited until now.
    #[must_use]
    pub fn take(&self) -> Waiting {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a change.
    pub(crate) fn note(&self, arrived: Instant, add: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.since.get_or_insert(arrived);
        add(&mut waiting);
    }
}

impl Triggers {
    /// What was noted until now.
    #[must_use]
    pub fn take(&self) -> VecDeque<(ServiceName, SystemTime)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a trigger.
    pub(crate) fn note(&self, service: ServiceName, at: SystemTime) {
        let mut triggers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if triggers.len() == TRIGGERS_MAX {
            triggers.pop_front();
        }
        triggers.push_back((service, at));
    }
}

impl Waiting {
    /// Adds what waits as well.
    pub fn add(&mut self, later: Self) {
        self.since = self.since.or(later.since);
        self.services += later.services;
        self.slices += later.slices;
        later.triggers.into_iter().for_each(|at| self.triggered(at));
    }

    /// Adds the time of a trigger.
    pub(crate) fn triggered(&mut self, at: SystemTime) {
        if self.triggers.len() == TRIGGERS_MAX {
            self.triggers.pop_front();
        }
        self.triggers.push_back(at);
    }
}
