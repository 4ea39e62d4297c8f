//! Zones from files: the `file` plugin.

mod lookup;

use std::collections::BTreeMap;

use crate::name::{Name, Zone};
use crate::record::{self, Record, Unreadable};
use crate::wire::kind;

/// A zone with all its records.
#[derive(Clone, Debug)]
pub struct ZoneFile {
    /// Its name.
    pub origin: Zone,
    /// The names that are looked for elsewhere if they are not in it; `None` is nowhere.
    pub fallthrough: Option<Vec<Zone>>,
    soa: Record,
    /// By the labels of the name from the right, each with its length: what is below a name comes
    /// right after it.
    nodes: BTreeMap<Box<[u8]>, Vec<Record>>,
}

/// Why a text is no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It lacks what makes a zone.
    #[error("there is no SOA record for {0}")]
    NoSoa(Zone),
}

impl ZoneFile {
    /// The zone of a text. Records of names outside of it are left out.
    ///
    /// # Errors
    /// If the text is no zone.
    pub fn parse(text: &str, origin: Zone) -> Result<Self, Error> {
        let mut nodes: BTreeMap<Box<[u8]>, Vec<Record>> = BTreeMap::new();
        let mut soa = None;
        for record in record::parse(text, origin.wire())? {
            let Ok(owner) = Name::read(&record.owner) else { continue };
            if !owner.is_within(&origin) {
                continue;
            }
            if record.kind == kind::SOA && owner.labels() == origin.labels() {
                soa = Some(record.clone());
            }
            let key = key(&owner, 0);
            nodes.entry(key).or_default().push(record);
        }
        let soa = soa.ok_or_else(|| Error::NoSoa(origin.clone()))?;
        Ok(Self { origin, fallthrough: None, soa, nodes })
    }

    /// All records, the SOA first and again at the end, as transfers want them.
    pub fn transfer(&self) -> Vec<Record> {
        let others = self.nodes.values().flatten().filter(|record| record.kind != kind::SOA);
        [&self.soa].into_iter().chain(others).chain([&self.soa]).cloned().collect()
    }

    /// The zone's serial.
    pub fn serial(&self) -> u32 {
        let numbers = self.soa.data.len().saturating_sub(20);
        self.soa.data[numbers..].first_chunk().map_or(0, |octets| u32::from_be_bytes(*octets))
    }
}

/// The key of a name's last labels, without the first `skip`.
fn key(name: &Name<'_>, skip: usize) -> Box<[u8]> {
    let labels = (skip..name.labels()).rev().map(|index| name.folded(index, index + 1));
    labels.flatten().copied().collect()
}
