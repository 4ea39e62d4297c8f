//! Answers from the zones of a cluster.

use super::apex;
use super::chase::chase;
use super::lookup::{Found, find};
use super::scribe::{Owner, Scribe, Yield, push_pointer};
use crate::compat;
use crate::index::Index;
use crate::name::{Name, Zone};
use crate::options::Options;
use crate::wire::query::Query;
use crate::wire::writer::{Section, Writer};
use crate::wire::{QUESTION_NAME, Rcode, kind};

/// What an answer depends on besides the query.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Which of several addresses comes first; any number.
    pub turn: usize,
    /// What became of the name that [`Outcome::Foreign`] asked for.
    pub resolved: Option<&'r Resolved>,
}

/// An answer from elsewhere, for a name that an alias leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// There is nobody to ask.
    Nobody,
    /// Nobody could tell.
    Failed,
    /// Records, or their absence.
    Records {
        /// The name that was asked for, as octets.
        target: Box<[u8]>,
        /// Whole records, without compression.
        answers: Vec<Box<[u8]>>,
        /// Whole records, without compression.
        authority: Vec<Box<[u8]>>,
        /// The response code.
        rcode: u16,
        /// The answer was cut.
        truncated: bool,
        /// The answer as it came.
        raw: Box<[u8]>,
    },
    /// The whole answer to another query.
    Whole {
        /// The query.
        question: Box<[u8]>,
        /// The answer.
        answer: Box<[u8]>,
    },
}

/// What came of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is answered.
    Answered(Rcode),
    /// The name is in none of the zones, or does not exist and may elsewhere.
    Next,
    /// An alias leads to this name outside of the zones: the query is to be repeated once it is
    /// resolved.
    Foreign(Box<[u8]>),
}

/// Writes the answer to a query of class IN.
pub fn answer(
    index: &Index,
    options: &Options,
    query: &Query<'_>,
    request: Request<'_>,
    writer: &mut Writer<'_>,
) -> Outcome {
    let Some(zone) = zone_of(options, &query.name) else { return Outcome::Next };
    let own = Owner::of(&query.name, zone, QUESTION_NAME);
    let mut found = find(index, options, zone, &query.name);
    if options.compat != compat::Names::default() && denied(options, zone, query, found) {
        found = Found::Missing;
    }
    match found {
        Found::Missing => missing(index, options, query, own, writer),
        Found::Alias(entry)
            if query.kind == kind::CNAME || (query.kind == kind::ANY && !options.compat.alias) =>
        {
            let target = entry.alias.as_deref().unwrap_or_default();
            let owner = |out: &mut Vec<u8>| push_pointer(out, QUESTION_NAME);
            writer
                .add(Section::Answer, owner, kind::CNAME, options.ttl_s, |out| out.extend_from_slice(target));
            Outcome::Answered(Rcode::NoError)
        }
        Found::Alias(_) if options.compat.alias && !matches!(query.kind, kind::A | kind::AAAA) => {
            apex::deny(index, options, own, writer);
            Outcome::Answered(Rcode::NoError)
        }
        Found::Alias(entry) => {
            let target = entry.alias.as_deref().unwrap_or_default();
            chase(index, options, query, request, (own, target), writer)
        }
        found => {
            let scribe = Scribe::new(index, options, request.turn, query.kind);
            if scribe.write(found, zone, own, writer) == Yield::NoData {
                apex::deny(index, options, own, writer);
            }
            Outcome::Answered(Rcode::NoError)
        }
    }
}

/// Whether CoreDNS denies a name for the type asked for although it exists.
fn denied(options: &Options, zone: &Zone, query: &Query<'_>, found: Found<'_, '_>) -> bool {
    let compat = options.compat;
    let bare = matches!(found, Found::Apex | Found::Empty | Found::NameServer);
    match found {
        _ if compat.txt && bare && query.kind == kind::TXT => true,
        Found::Version => compat.version && query.kind != kind::TXT,
        Found::Address(_) => compat.reverse && query.kind != kind::PTR,
        Found::Empty if zone.is_reverse() => compat.reverse,
        // Those nearer to the zone are there for the sake of Services.
        Found::Empty => compat.protocol && query.name.labels() > zone.labels() + 2,
        _ => false,
    }
}

fn missing(
    index: &Index,
    options: &Options,
    query: &Query<'_>,
    own: Owner<'_>,
    writer: &mut Writer<'_>,
) -> Outcome {
    if !index.synced {
        apex::deny(index, options, own, writer);
        return Outcome::Answered(Rcode::ServFail);
    }
    let elsewhere = |zones: &Vec<Zone>| zones.iter().any(|zone| query.name.is_within(zone));
    if options.fallthrough.as_ref().is_some_and(elsewhere) {
        return Outcome::Next;
    }
    apex::deny(index, options, own, writer);
    Outcome::Answered(Rcode::NxDomain)
}

/// The zone with the most labels that a name is within.
pub(crate) fn zone_of<'o>(options: &'o Options, name: &Name<'_>) -> Option<&'o Zone> {
    let zones = options.zones.iter().filter(|zone| name.is_within(zone));
    zones.max_by_key(|zone| zone.labels())
}
