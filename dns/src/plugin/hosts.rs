//! Names from a file like `/etc/hosts`: the `hosts` plugin.

use std::net::IpAddr;

use hashbrown::HashMap;

use crate::name::{self, Name, Zone};
use crate::wire::query::Query;
use crate::wire::writer::{Section, Writer};
use crate::wire::{QUESTION_NAME, Rcode, kind};
use crate::zone::{Outcome, address_of};

/// What names live where the plugin does not say.
const TTL_DEFAULT_S: u32 = 3600;

/// A table of names and addresses.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// The zones that it is asked for.
    pub zones: Vec<Zone>,
    /// How long answers live, in seconds.
    pub ttl_s: u32,
    /// Addresses do not lead back to names.
    pub no_reverse: bool,
    /// The names that are looked for elsewhere if they are not in it; `None` is nowhere.
    pub fallthrough: Option<Vec<Zone>>,
    names: HashMap<Box<[u8]>, Vec<IpAddr>>,
    addresses: HashMap<IpAddr, Vec<Box<[u8]>>>,
}

impl Hosts {
    /// An empty table.
    pub fn new(zones: Vec<Zone>) -> Self {
        Self { zones, ttl_s: TTL_DEFAULT_S, ..Self::default() }
    }

    /// Adds the lines of a text: an address, and names of it. A line that is something else says
    /// nothing, as everywhere.
    pub fn add(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next().and_then(|word| word.split('%').next()?.parse().ok()) else {
                continue;
            };
            for wire in words.filter_map(|word| name::parse(word).ok()) {
                self.names.entry(wire.to_ascii_lowercase().into()).or_default().push(address);
                self.addresses.entry(address).or_default().push(wire);
            }
        }
    }

    /// How many names it has.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Writes the answer to a query, if there is one.
    pub fn answer(&self, query: &Query<'_>, writer: &mut Writer<'_>) -> Outcome {
        if !self.zones.iter().any(|zone| query.name.is_within(zone)) {
            return Outcome::Next;
        }
        if query.kind == kind::PTR {
            return self.reverse(query, writer);
        }
        let Some(addresses) = self.names.get(query.name.folded_wire()) else {
            // There is no SOA by which a name could be denied.
            let next = falls_through(self.fallthrough.as_deref(), &query.name);
            return if next { Outcome::Next } else { Outcome::Answered(Rcode::ServFail) };
        };
        for address in addresses {
            let owner = |out: &mut Vec<u8>| out.extend_from_slice(&QUESTION_NAME.to_be_bytes());
            match (query.kind, address) {
                (kind::A, IpAddr::V4(address)) => {
                    let data = |out: &mut Vec<u8>| out.extend_from_slice(&address.octets());
                    writer.add(Section::Answer, owner, kind::A, self.ttl_s, data);
                }
                (kind::AAAA, IpAddr::V6(address)) => {
                    let data = |out: &mut Vec<u8>| out.extend_from_slice(&address.octets());
                    writer.add(Section::Answer, owner, kind::AAAA, self.ttl_s, data);
                }
                _ => {}
            }
        }
        Outcome::Answered(Rcode::NoError)
    }

    fn reverse(&self, query: &Query<'_>, writer: &mut Writer<'_>) -> Outcome {
        let names = address_of(&query.name).filter(|_| !self.no_reverse);
        let Some(names) = names.and_then(|address| self.addresses.get(&address)) else {
            return Outcome::Next;
        };
        for name in names {
            let owner = |out: &mut Vec<u8>| out.extend_from_slice(&QUESTION_NAME.to_be_bytes());
            writer.add(Section::Answer, owner, kind::PTR, self.ttl_s, |out| out.extend_from_slice(name));
        }
        Outcome::Answered(Rcode::NoError)
    }
}

/// Whether a name that is not here is looked for elsewhere.
pub(crate) fn falls_through(zones: Option<&[Zone]>, name: &Name<'_>) -> bool {
    zones.is_some_and(|zones| zones.iter().any(|zone| name.is_within(zone)))
}
