//! Records from texts: of zone files, of templates, and of answers that hickory read.

use hickory_proto::rr::{Name as HickoryName, Record as HickoryRecord};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use hickory_proto::serialize::txt::Parser;

use crate::name::{self, Name};

/// Owner, type, class, time to live and length take so much beside the owner.
const FIXED: usize = 10;
/// What records of a text without `$TTL` live, as CoreDNS has it.
const TTL_DEFAULT: &str = "$TTL 3600\n";

/// A record, with names in it spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is, in the case it was written in.
    pub owner: Box<[u8]>,
    /// Its type.
    pub kind: u16,
    /// How long it lives, in seconds.
    pub ttl_s: u32,
    /// Its data.
    pub data: Box<[u8]>,
}

/// A text that holds no records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Record {
    /// A record that hickory read; `None` if it cannot be written again.
    pub fn of(record: &HickoryRecord) -> Option<Self> {
        let octets = octets(record)?;
        let owner = Name::read(&octets).ok()?.wire().len();
        let word = |at: usize| u16::from_be_bytes([octets[owner + at], octets[owner + at + 1]]);
        Some(Self {
            owner: octets[..owner].into(),
            kind: word(0),
            ttl_s: u32::from(word(4)) << 16 | u32::from(word(6)),
            data: octets[owner + FIXED..].into(),
        })
    }

    /// The name that the data ends with, for types whose data does.
    pub fn target(&self) -> Option<&[u8]> {
        use crate::wire::kind;

        match self.kind {
            kind::NS | kind::CNAME | kind::PTR => Some(&self.data),
            kind::MX => self.data.get(2..),
            kind::SRV => self.data.get(6..),
            _ => None,
        }
    }
}

/// The octets of a record by itself: no name in it points anywhere.
pub fn octets(record: &HickoryRecord) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    record.emit(&mut encoder).ok()?;
    Some(octets)
}

/// The records of a text in the form of zone files (RFC 1035 section 5); names without a final dot
/// are below `origin`.
///
/// # Errors
/// If there is anything else in it.
pub fn parse(text: &str, origin: &[u8]) -> Result<Vec<Record>, Unreadable> {
    let wrong = |error: &dyn std::fmt::Display| Unreadable(error.to_string());
    let origin = HickoryName::from_ascii(name::text(origin)).map_err(|error| wrong(&error))?;
    let text = format!("{TTL_DEFAULT}{text}\n");
    let (_, sets) = Parser::new(text, None, Some(origin)).parse().map_err(|error| wrong(&error))?;
    let records = sets.values().flat_map(|set| set.records_without_rrsigs());
    records.map(|record| Record::of(record).ok_or_else(|| wrong(&"a record cannot be written"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kind;

    #[test]
    fn texts_become_records_without_pointers() {
        let records =
            parse("a 60 IN CNAME b.a\n@ IN TXT \"x y\"", &name::parse("example.").unwrap()).unwrap();
        let alias = records.iter().find(|record| record.kind == kind::CNAME).unwrap();
        assert_eq!(name::text(&alias.owner), "a.example.");
        assert_eq!((alias.ttl_s, name::text(&alias.data)), (60, "b.a.example.".to_owned()));
        let text = records.iter().find(|record| record.kind == kind::TXT).unwrap();
        assert_eq!((text.ttl_s, &*text.data), (3600, b"\x03x y".as_slice()));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["a IN A 1.2.3", "a IN NOTHING x", "a IN A"] {
            assert!(parse(text, &name::parse("example.").unwrap()).is_err(), "{text}");
        }
    }
}
