//! Lines about queries, in the formats and for the classes of answers of CoreDNS's `log`.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::name::{self, Name, Zone};
use crate::wire::query::{Query, skip_name};
use crate::wire::writer::Transport;
use crate::wire::{HEADER, kind, rcode_text};

/// What `{common}` stands for, and what is written without a format.
const COMMON: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} \
                      {>rflags} {rsize} {duration}";
/// What `{combined}` adds to that.
const COMBINED: &str = " \"{>opcode}\"";
/// Flags of the second 16 bits of a header, as lines call them.
const FLAGS: [(u16, &str); 8] = [
    (0x8000, "qr"),
    (0x0400, "aa"),
    (0x0200, "tc"),
    (0x0100, "rd"),
    (0x0080, "ra"),
    (0x0040, "z"),
    (0x0020, "ad"),
    (0x0010, "cd"),
];
const PLAIN_MAX: u16 = 512;

/// One `log` line of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Queries for these names; empty means all.
    pub zones: Vec<Zone>,
    /// What is written.
    pub format: Format,
    /// Answers of these classes; empty means all.
    pub classes: Vec<Class>,
}

/// What sort of answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Data, or who has it.
    Success,
    /// The name, or data for the type, does not exist.
    Denial,
    /// Every other code.
    Error,
}

/// A text with places for what is known about a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Type,
    Name,
    Class,
    Proto,
    Remote,
    Port,
    Local,
    Size,
    ResponseSize,
    Duration,
    Rcode,
    BufSize,
    Dnssec,
    Id,
    Opcode,
    Flags,
}

/// What is in braces.
const FIELDS: [(&str, Field); 16] = [
    ("type", Field::Type),
    ("name", Field::Name),
    ("class", Field::Class),
    ("proto", Field::Proto),
    ("remote", Field::Remote),
    ("port", Field::Port),
    ("local", Field::Local),
    ("size", Field::Size),
    ("rsize", Field::ResponseSize),
    ("duration", Field::Duration),
    ("rcode", Field::Rcode),
    (">bufsize", Field::BufSize),
    (">do", Field::Dnssec),
    (">id", Field::Id),
    (">opcode", Field::Opcode),
    (">rflags", Field::Flags),
];

/// A query and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'e> {
    /// The query.
    pub query: &'e Query<'e>,
    /// How many octets the query had.
    pub request: usize,
    /// The whole answer.
    pub answer: &'e [u8],
    /// The response code, extended.
    pub rcode: u16,
    /// Who asked, where that is known.
    pub client: Option<SocketAddr>,
    /// The address that was asked, where that is known.
    pub local: Option<IpAddr>,
    /// How the query came.
    pub transport: Transport,
    /// How long it took.
    pub took: Duration,
}

impl Log {
    /// Whether a name is one of those that are written about here.
    pub fn covers(&self, name: &Name<'_>) -> bool {
        self.zones.is_empty() || self.zones.iter().any(|zone| name.is_within(zone))
    }

    /// The line about an exchange; `None` if there is to be none.
    pub fn line(&self, exchange: &Exchange<'_>) -> Option<String> {
        let wanted = self.classes.is_empty() || self.classes.contains(&exchange.class());
        wanted.then(|| self.format.write(exchange))
    }
}

impl Class {
    /// The class of a name in a Corefile; `all` is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "success" => Some(Self::Success),
            "denial" => Some(Self::Denial),
            "error" => Some(Self::Error),
            _ => None,
        }
    }
}

impl Default for Format {
    fn default() -> Self {
        Self::parse(COMMON).unwrap_or(Self(Vec::new()))
    }
}

impl Format {
    /// Reads a format.
    ///
    /// # Errors
    /// The name in braces that stands for nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.replace("{combined}", &format!("{COMMON}{COMBINED}")).replace("{common}", COMMON);
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, (name, after))) =
            rest.split_once('{').and_then(|(before, from)| Some((before, from.split_once('}')?)))
        {
            parts.push(Part::Text(before.to_owned()));
            let field = FIELDS.iter().find(|(known, _)| *known == name);
            parts.push(Part::Field(field.ok_or_else(|| name.to_owned())?.1));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// What may stand in braces.
    pub fn known() -> String {
        let names = FIELDS.iter().map(|(name, _)| *name).chain(["common", "combined"]);
        names.map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" ")
    }

    fn write(&self, exchange: &Exchange<'_>) -> String {
        let mut line = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field(field) => exchange.push(*field, &mut line),
            }
        }
        line
    }
}

impl Exchange<'_> {
    /// What sort of answer it is.
    pub fn class(&self) -> Class {
        match self.rcode {
            0 if self.word(3) == 0 && self.denies() => Class::Denial,
            0 => Class::Success,
            3 => Class::Denial,
            _ => Class::Error,
        }
    }

    /// Whether the first record is an SOA.
    fn denies(&self) -> bool {
        let end = skip_name(self.answer, HEADER).ok().map(|end| end + 4);
        let record = end.filter(|_| self.word(4) > 0).and_then(|end| skip_name(self.answer, end).ok());
        let octets = record.and_then(|record| self.answer.get(record..record + 2));
        octets == Some(&kind::SOA.to_be_bytes())
    }

    fn word(&self, index: usize) -> u16 {
        let octets = self.answer.get(2 * index..2 * index + 2).unwrap_or(&[0, 0]);
        u16::from_be_bytes([octets[0], octets[1]])
    }

    fn push(&self, field: Field, line: &mut String) {
        let query = self.query;
        let written = match field {
            Field::Type => write!(line, "{}", kind::text(query.kind)),
            Field::Name => write!(line, "{}", name::text(query.name.folded_wire())),
            Field::Class if query.class == kind::IN => write!(line, "IN"),
            Field::Class => write!(line, "CLASS{}", query.class),
            Field::Proto if self.transport == Transport::Udp => write!(line, "udp"),
            Field::Proto => write!(line, "tcp"),
            Field::Remote => match self.client.map(|client| client.ip()) {
                Some(address) if address.is_ipv6() => write!(line, "[{address}]"),
                Some(address) => write!(line, "{address}"),
                None => write!(line, "-"),
            },
            Field::Port => match self.client {
                Some(client) => write!(line, "{}", client.port()),
                None => write!(line, "-"),
            },
            Field::Local => match self.local {
                Some(IpAddr::V4(address)) => write!(line, "{address}"),
                Some(IpAddr::V6(address)) => write!(line, "[{address}]"),
                None => write!(line, "-"),
            },
            Field::Size => write!(line, "{}", self.request),
            Field::ResponseSize => write!(line, "{}", self.answer.len()),
            Field::Duration => write!(line, "{}s", self.took.as_secs_f64()),
            Field::Rcode => write!(line, "{}", rcode_text(self.rcode)),
            Field::BufSize => {
                let size = query.edns.map_or(PLAIN_MAX, |edns| edns.payload.max(PLAIN_MAX));
                write!(line, "{}", if self.transport == Transport::Udp { size } else { u16::MAX })
            }
            Field::Dnssec => write!(line, "{}", query.edns.is_some_and(|edns| edns.dnssec)),
            Field::Id => write!(line, "{}", query.id),
            Field::Opcode => write!(line, "{}", (query.flags >> 11) & 15),
            Field::Flags => {
                let set = FLAGS.iter().filter(|(flag, _)| self.word(1) & flag != 0);
                write!(line, "{}", set.map(|(_, name)| *name).collect::<Vec<_>>().join(","))
            }
        };
        debug_assert!(written.is_ok(), "a string takes every text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line about `wEb.example. A` over UDP with DO and 1232 octets, answered with this.
    fn line(format: &str, header: [u8; 4], record: &[u8]) -> (Class, String) {
        let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        message.extend_from_slice(b"\x03wEb\x07example\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\x80\0\0\0");
        let query = Query::read(&message).unwrap();
        let [flags, rcode, answers, authorities] = header;
        let mut answer = vec![0x12, 0x34, flags, rcode, 0, 1, 0, answers, 0, authorities, 0, 0];
        answer.extend_from_slice(query.question);
        answer.extend_from_slice(record);
        let exchange = Exchange {
            query: &query,
            request: message.len(),
            answer: &answer,
            rcode: u16::from(rcode),
            client: Some("[fd00::1]:4000".parse().unwrap()),
            local: Some("fd00::a".parse().unwrap()),
            transport: Transport::Udp,
            took: Duration::from_micros(62),
        };
        let log = Log { zones: Vec::new(), format: Format::parse(format).unwrap(), classes: Vec::new() };
        (exchange.class(), log.line(&exchange).unwrap())
    }

    const A: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x0a\0\0\x01";
    const SOA: &[u8] = b"\xc0\x0c\0\x06\0\x01\0\0\0\x05\0\0";
    const NS: &[u8] = b"\xc0\x0c\0\x02\0\x01\0\0\0\x05\0\0";

    #[test]
    fn formats_are_those_of_coredns() {
        let common =
            "[fd00::1]:4000 - 4660 \"A IN web.example. udp 40 true 1232\" NOERROR qr,aa,rd 45 0.000062s";
        assert_eq!(line("{common}", [0x85, 0, 1, 0], A), (Class::Success, common.to_owned()));
        let combined = format!("{common} \"0\"");
        assert_eq!(line("{combined}", [0x85, 0, 1, 0], A), (Class::Success, combined));
        assert_eq!(line("a {rcode} {local} b", [0x80, 5, 0, 0], b"").1, "a REFUSED [fd00::a] b");
        assert_eq!(Format::parse("{remote} {nothing}"), Err("nothing".to_owned()));
        assert_eq!(Format::default(), Format::parse("{common}").unwrap());
    }

    #[test]
    fn classes_tell_data_denials_and_failures_apart() {
        let check = |rcode: u8, answers: u8, authorities: u8, record: &[u8], expected: Class| {
            assert_eq!(
                line("", [0x80, rcode, answers, authorities], record).0,
                expected,
                "{rcode} {answers}"
            );
        };
        check(0, 1, 0, A, Class::Success);
        check(0, 0, 1, NS, Class::Success);
        check(0, 0, 1, SOA, Class::Denial);
        check(3, 0, 1, SOA, Class::Denial);
        check(2, 0, 0, b"", Class::Error);
        check(5, 0, 0, b"", Class::Error);
    }
}
