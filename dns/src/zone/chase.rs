//! Aliases, followed to what they lead to.

use super::answer::{Outcome, Request, Resolved, zone_of};
use super::apex;
use super::lookup::{Found, find};
use super::scribe::{Owner, Scribe, Yield, pointer, push_pointer};
use crate::index::Index;
use crate::name::Name;
use crate::options::Options;
use crate::wire::query::Query;
use crate::wire::writer::{Section, Writer};
use crate::wire::{QUESTION_NAME, Rcode, kind};

/// Links of a chain of aliases that are followed; a longer one is taken for a loop.
const LINKS_MAX: usize = 11;
/// Octets of a record before its data, where the owner is a pointer.
const RECORD_HEADER: usize = 12;

/// Follows aliases from one zone name to the next, and on to what the last one leads to.
pub(super) fn chase(
    index: &Index,
    options: &Options,
    query: &Query<'_>,
    request: Request<'_>,
    (own, mut target): (Owner<'_>, &[u8]),
    writer: &mut Writer<'_>,
) -> Outcome {
    if is_loop(index, options, target) {
        apex::deny(index, options, own, writer);
        return Outcome::Answered(Rcode::NoError);
    }
    let mut owner = QUESTION_NAME;
    loop {
        let Ok(name) = Name::read(target) else { return Outcome::Answered(Rcode::NoError) };
        let zone = zone_of(options, &name);
        let next = pointer(writer.position() + RECORD_HEADER);
        let stand = zone.map(|zone| Owner::of(&name, zone, next)).map(|stand| stand.sharing(own));
        let whole = writer.add(
            Section::Answer,
            |out| push_pointer(out, owner),
            kind::CNAME,
            options.ttl_s,
            |out| push_target(out, &name, stand, own),
        );
        owner = next;
        let (Some(zone), Some(stand)) = (zone, stand) else {
            return match request.resolved {
                Some(Resolved::Failed) if options.compat.chase => Outcome::Answered(Rcode::NoError),
                resolved => complete(query, resolved, target, !options.compat.chase, writer),
            };
        };
        if !whole {
            return Outcome::Answered(Rcode::NoError);
        }
        match find(index, options, zone, &name) {
            Found::Alias(entry) => target = entry.alias.as_deref().unwrap_or_default(),
            Found::Missing if !index.synced => {
                writer.rewind(query);
                apex::deny(index, options, own, writer);
                return Outcome::Answered(Rcode::ServFail);
            }
            found => {
                let scribe = Scribe::new(index, options, request.turn, query.kind);
                if scribe.write(found, zone, stand, writer) == Yield::NoData {
                    if options.compat.chase {
                        writer.rewind(query);
                    }
                    apex::deny(index, options, own, writer);
                }
                return Outcome::Answered(Rcode::NoError);
            }
        }
    }
}

/// Whether more aliases follow one another than any that is meant has.
fn is_loop(index: &Index, options: &Options, first: &[u8]) -> bool {
    let mut target = first;
    for _ in 0..LINKS_MAX {
        let Ok(name) = Name::read(target) else { return false };
        let Some(zone) = zone_of(options, &name) else { return false };
        let Found::Alias(entry) = find(index, options, zone, &name) else { return false };
        target = entry.alias.as_deref().unwrap_or_default();
    }
    true
}

/// Appends what an alias leads to. Letters keep their case, so only a zone that is spelt as in the
/// question is left to a pointer.
fn push_target(out: &mut Vec<u8>, name: &Name<'_>, stand: Option<Owner<'_>>, own: Owner<'_>) {
    match stand.filter(|stand| stand.zone_pointer == own.zone_pointer) {
        Some(stand) => {
            out.extend_from_slice(&name.wire()[..name.wire().len() - stand.zone.len()]);
            push_pointer(out, own.zone_pointer);
        }
        None => out.extend_from_slice(name.wire()),
    }
}

/// Adds what a name outside of the zones leads to, and why there is nothing if `reason` is wanted;
/// or asks for it.
pub(crate) fn complete(
    query: &Query<'_>,
    resolved: Option<&Resolved>,
    wanted: &[u8],
    reason: bool,
    writer: &mut Writer<'_>,
) -> Outcome {
    match resolved {
        Some(Resolved::Records { target, answers, authority, truncated, .. }) if **target == *wanted => {
            let authority = if reason || !answers.is_empty() { &authority[..] } else { &[] };
            for (section, records) in [(Section::Answer, &answers[..]), (Section::Authority, authority)] {
                for record in records {
                    writer.add_raw(section, record);
                }
            }
            if *truncated {
                writer.truncate();
            }
            Outcome::Answered(Rcode::NoError)
        }
        Some(Resolved::Nobody) => Outcome::Answered(Rcode::NoError),
        Some(Resolved::Failed) => {
            writer.rewind(query);
            Outcome::Answered(Rcode::ServFail)
        }
        // Not asked yet, or the alias changed meanwhile.
        Some(Resolved::Records { .. } | Resolved::Whole { .. }) | None => Outcome::Foreign(wanted.into()),
    }
}
