//! Record types by number.

/// IPv4 address.
pub const A: u16 = 1;
/// Name server.
pub const NS: u16 = 2;
/// Alias.
pub const CNAME: u16 = 5;
/// Start of authority.
pub const SOA: u16 = 6;
/// Pointer from an address to a name.
pub const PTR: u16 = 12;
/// Host information, which loop probes ask for.
pub const HINFO: u16 = 13;
/// Mail exchange.
pub const MX: u16 = 15;
/// Text.
pub const TXT: u16 = 16;
/// IPv6 address.
pub const AAAA: u16 = 28;
/// Service location (RFC 2782).
pub const SRV: u16 = 33;
/// The pseudo-record of EDNS (RFC 6891).
pub const OPT: u16 = 41;
/// Incremental transfer (RFC 1995).
pub const IXFR: u16 = 251;
/// Whole transfer (RFC 5936).
pub const AXFR: u16 = 252;
/// Any type (RFC 8482).
pub const ANY: u16 = 255;

/// The Internet, the only class that is served.
pub const IN: u16 = 1;

/// The name of a type, or `TYPE1234` (RFC 3597).
pub fn text(kind: u16) -> String {
    hickory_proto::rr::RecordType::from(kind).to_string()
}

/// The type of a name such as `AAAA` or `TYPE65`; `None` if there is none.
pub fn parse(text: &str) -> Option<u16> {
    let text = text.to_ascii_uppercase();
    match text.strip_prefix("TYPE") {
        Some(number) => number.parse().ok(),
        None => text.parse::<hickory_proto::rr::RecordType>().ok().map(u16::from),
    }
}
