//! Domain names on the wire: read without copying, compared without case.

mod text;

pub use text::{BadName, parse, reverse, text};

use std::fmt;

/// The longest name in octets (RFC 1035 section 2.3.4).
pub const NAME_MAX: usize = 255;
/// The longest label in octets.
pub const LABEL_MAX: usize = 63;
const LABELS_MAX: usize = 128;

/// A name somewhere in a message, with a folded copy to compare and hash.
pub struct Name<'a> {
    wire: &'a [u8],
    folded: [u8; NAME_MAX],
    starts: [u8; LABELS_MAX],
    labels: usize,
}

/// Octets that are no name: cut, too long, compressed, or with a reserved label type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the octets are not an uncompressed domain name of at most 255 octets")]
pub struct Malformed;

impl<'a> Name<'a> {
    /// Reads the name at the start of `bytes`. A question has nothing before it that it could
    /// point to, so compression is malformed.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut name = Self { wire: &[], folded: [0; NAME_MAX], starts: [0; LABELS_MAX], labels: 0 };
        let mut at = 0;
        loop {
            let length = usize::from(*bytes.get(at).ok_or(Malformed)?);
            if length == 0 {
                break;
            }
            let end = at + 1 + length;
            // One octet must be left for the root.
            if length > LABEL_MAX || end >= NAME_MAX || end >= bytes.len() {
                return Err(Malformed);
            }
            name.starts[name.labels] = u8::try_from(at).map_err(|_| Malformed)?;
            name.labels += 1;
            at = end;
        }
        name.wire = &bytes[..=at];
        name.folded[..=at].copy_from_slice(name.wire);
        // Length octets are below 64, so folding the whole touches letters only.
        name.folded[..=at].make_ascii_lowercase();
        name.starts[name.labels] = u8::try_from(at).map_err(|_| Malformed)?;
        Ok(name)
    }

    /// The octets as they came, the root included.
    pub fn wire(&self) -> &'a [u8] {
        self.wire
    }

    /// How many labels there are before the root.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// A label in lower case, counted from the left.
    pub fn label(&self, index: usize) -> &[u8] {
        let start = self.start(index);
        &self.folded[start + 1..=start + usize::from(self.folded[start])]
    }

    /// Where a label begins in [`wire`](Self::wire); the root is the one after the last.
    pub fn start(&self, label: usize) -> usize {
        usize::from(self.starts[label])
    }

    /// The labels `from..to` with their length octets, in lower case.
    pub fn folded(&self, from: usize, to: usize) -> &[u8] {
        &self.folded[self.start(from)..self.start(to)]
    }

    /// The whole name in lower case, the root included.
    pub fn folded_wire(&self) -> &[u8] {
        &self.folded[..self.wire.len()]
    }

    /// Whether the name is `zone` or below it; `zone` is in lower case.
    pub fn is_within(&self, zone: &Zone) -> bool {
        self.labels >= zone.labels
            && self.folded[self.start(self.labels - zone.labels)..self.wire.len()] == *zone.wire
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.wire))
    }
}

/// A zone's name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone {
    wire: Box<[u8]>,
    labels: usize,
}

impl Zone {
    /// The zone of that name; a missing final dot is added.
    ///
    /// # Errors
    /// If the text is no name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let wire = parse(&text.to_ascii_lowercase())?;
        let labels = Name::read(&wire).map_or(0, |name| name.labels());
        Ok(Self { wire, labels })
    }

    /// The octets of the name, the root included.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// How many labels there are before the root.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// Whether it lies in the tree of IPv4 or IPv6 addresses.
    pub fn is_reverse(&self) -> bool {
        self.wire.ends_with(b"\x07in-addr\x04arpa\0") || self.wire.ends_with(b"\x03ip6\x04arpa\0")
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.wire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[u8]>) {
        assert_eq!(parse(text).ok().as_deref(), expected, "{text:?}");
    }

    #[test]
    fn texts_become_octets() {
        check("a.bc.", Some(b"\x01a\x02bc\0"));
        check("a.bc", Some(b"\x01a\x02bc\0"));
        check(r"a\.b.c", Some(b"\x03a.b\x01c\0"));
        check(r"\000.c", Some(b"\x01\0\x01c\0"));
        check(".", Some(b"\0"));
        check("", None);
        check("a..b", None);
        check(".a", None);
        check(r"a\25", None);
        check(&"a".repeat(64), None);
        check(&"a.".repeat(128), None);
    }

    #[test]
    fn octets_become_the_text_they_were_read_from() {
        for name in ["a.bc.", ".", r"a\.b.c.", r"\000\255.c."] {
            assert_eq!(text(&parse(name).unwrap()), name);
        }
    }

    #[test]
    fn a_label_that_holds_a_dot_is_one_label() {
        let wire = parse(r"two\.t.svc").unwrap();
        let name = Name::read(&wire).unwrap();
        assert_eq!((name.labels(), name.label(0)), (2, b"two.t".as_slice()));
    }

    #[test]
    fn cut_names_and_pointers_are_malformed() {
        for bytes in [&b"\x03ab"[..], b"\x02ab", b"", b"\xc0\x0c", b"\x41"] {
            assert_eq!(Name::read(bytes).err(), Some(Malformed), "{bytes:?}");
        }
        let long = [b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4);
        assert_eq!(Name::read(&[&long[..], b"\0"].concat()).err(), Some(Malformed));
    }
}
