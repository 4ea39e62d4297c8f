//! Whole zones, over TCP, to those who may have them (RFC 5936; RFC 1995 without differences).

use std::net::SocketAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::RData;

use super::{Chain, Engine};
use crate::block::Place;
use crate::name::{Name, Zone};
use crate::plugin::acl::Verdict;
use crate::record::Record;
use crate::wire::query::Query;
use crate::wire::writer::{Form, Section, Transport, Writer};
use crate::wire::{HEADER, QUESTION_NAME, Rcode, kind};
use crate::zone;

/// Octets of records in one message: names are not compressed, and there is room for the rest.
const MESSAGE_MAX: usize = 60_000;

impl Engine {
    /// The messages of a transfer over TCP; `None` if it is none, or the zone is not for this
    /// client: then the query is answered like any other.
    pub fn transfer(
        &self,
        message: &[u8],
        place: impl Into<Place>,
        peer: SocketAddr,
    ) -> Option<Vec<Vec<u8>>> {
        let query = Query::read(message).ok()?;
        if !matches!(query.kind, kind::AXFR | kind::IXFR) || query.class != kind::IN {
            return None;
        }
        let chain = &self.chains[self.chain_of(&query.name, place.into())?];
        let barred = chain
            .block
            .acl
            .iter()
            .any(|acl| acl.verdict(&query.name, query.kind, Some(peer.ip())) != Verdict::Allow);
        let (zone, records) = records_of(chain, &query.name)?;
        let allowed = chain.block.transfer.iter().any(|rule| rule.allows(&zone, peer.ip()));
        if barred || !allowed {
            return None;
        }
        let current = query.kind == kind::IXFR && known_serial(message) == serial(&records);
        let records = if current { &records[..1] } else { &records[..] };
        Some(messages(&query, records))
    }
}

fn records_of(chain: &Chain, name: &Name<'_>) -> Option<(Zone, Vec<Record>)> {
    let is_apex = |zone: &&Zone| zone.labels() == name.labels() && name.is_within(zone);
    if let Some(kubernetes) = &chain.kubernetes {
        let options = &kubernetes.options;
        let zone = options.zones.iter().find(is_apex).filter(|zone| !zone.is_reverse());
        let index = kubernetes.index.load();
        if let Some(zone) = zone.filter(|_| index.synced) {
            return Some((zone.clone(), zone::transfer(&index, options, zone)));
        }
    }
    let file = chain.block.files.iter().find(|file| is_apex(&&file.origin))?;
    Some((file.origin.clone(), file.transfer()))
}

/// The serial that the client has.
fn known_serial(message: &[u8]) -> Option<u32> {
    let message = Message::from_vec(message).ok()?;
    message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

fn serial(records: &[Record]) -> Option<u32> {
    let data = &records.first()?.data;
    let numbers = data.get(data.len().checked_sub(20)?..)?;
    numbers.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

fn messages(query: &Query<'_>, records: &[Record]) -> Vec<Vec<u8>> {
    let length = |record: &Record| record.owner.len() + HEADER + record.data.len();
    let mut messages = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let mut octets = 0;
        let fit = rest.iter().take_while(|record| {
            octets += length(record);
            octets <= MESSAGE_MAX
        });
        let (now, later) = rest.split_at(fit.count().max(1));
        let mut out = Vec::new();
        let mut writer = Writer::begin(&mut out, query, Transport::Tcp, Form::FULL);
        for record in now {
            let asked = record.owner.eq_ignore_ascii_case(query.name.wire());
            let question = QUESTION_NAME.to_be_bytes();
            let owner = if asked { &question[..] } else { &record.owner };
            let push_owner = |out: &mut Vec<u8>| out.extend_from_slice(owner);
            writer.add(Section::Answer, push_owner, record.kind, record.ttl_s, |out| {
                out.extend_from_slice(&record.data);
            });
        }
        writer.finish(query, Rcode::NoError, true);
        messages.push(out);
        rest = later;
    }
    messages
}
