//! Messages as octets: reading queries and writing answers, without allocation once warm.

pub mod kind;
pub mod query;
pub mod relay;
pub mod writer;

/// Response codes (RFC 1035 section 4.1.1, RFC 6895).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rcode {
    /// No error.
    NoError,
    /// The query cannot be understood.
    FormErr,
    /// The server could not find out.
    ServFail,
    /// The name does not exist.
    NxDomain,
    /// The kind of query is not supported.
    NotImp,
    /// The server will not tell.
    Refused,
    /// The EDNS version is not supported (RFC 6891).
    BadVers,
}

impl Rcode {
    /// The code of a name such as `NXDOMAIN`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_uppercase().as_str() {
            "NOERROR" => Self::NoError,
            "FORMERR" => Self::FormErr,
            "SERVFAIL" => Self::ServFail,
            "NXDOMAIN" => Self::NxDomain,
            "NOTIMP" => Self::NotImp,
            "REFUSED" => Self::Refused,
            _ => return None,
        })
    }

    /// All 12 bits of the code.
    pub fn code(self) -> u16 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::BadVers => 16,
        }
    }
}

/// The name of a code as log lines and metrics spell it.
pub fn rcode_text(code: u16) -> String {
    const NAMES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
    match (NAMES.get(usize::from(code)), code) {
        (Some(name), _) => (*name).to_owned(),
        (None, 16) => "BADVERS".to_owned(),
        (None, other) => format!("RCODE{other}"),
    }
}

/// The length of a message's header.
pub const HEADER: usize = 12;
/// The name of the question, as a compression pointer.
pub const QUESTION_NAME: u16 = 0xc00c;
/// The largest message over UDP that we ask for and, unless asked for more, send.
pub const UDP_PAYLOAD: u16 = 1232;
