//! Offloads of a link by ethtool's generic netlink family (Linux 5.6, `ethtool-netlink.rst`).
//!
//! The messages are small enough to be written with plain attributes: a request is a header with
//! the device's name, and features are a bitset of named bits.

use std::{collections::BTreeSet, io};

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable, Nla, NlasIterator, Parseable, ParseableParametrized,
};
use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

const FAMILY: &str = "ethtool";
const MSG_FEATURES_GET: u8 = 11;
const MSG_FEATURES_SET: u8 = 12;
const A_HEADER: u16 = 1;
const A_HEADER_DEV_NAME: u16 = 2;
const A_FEATURES_WANTED: u16 = 3;
const A_FEATURES_ACTIVE: u16 = 4;
const A_BITSET_BITS: u16 = 3;
const A_BITS_BIT: u16 = 1;
const A_BIT_NAME: u16 = 2;
const A_BIT_VALUE: u16 = 3;

/// The features that are on for `link` in the calling thread's namespace.
pub(crate) fn active_features(link: &str) -> io::Result<BTreeSet<String>> {
    let mut connection = Connection::open()?;
    let request = Features { command: MSG_FEATURES_GET, attributes: vec![header(link)] };
    let mut names = BTreeSet::new();
    for answer in connection.ask(request)? {
        for features in answer.attributes.iter().filter(|nla| kind(nla) == A_FEATURES_ACTIVE) {
            for bits in children(features)?.iter().filter(|nla| kind(nla) == A_BITSET_BITS) {
                for bit in children(bits)? {
                    let name = children(&bit)?.into_iter().find(|nla| kind(nla) == A_BIT_NAME);
                    names.extend(name.map(|nla| text(&nla)));
                }
            }
        }
    }
    Ok(names)
}

/// Switches `features` of `link` in the calling thread's namespace; others stay as they are.
pub(crate) fn set_features(link: &str, features: &[(&str, bool)]) -> io::Result<()> {
    let bit = |&(name, on): &(&str, bool)| {
        let mut bit = vec![string(A_BIT_NAME, name)];
        bit.extend(on.then(|| DefaultNla::new(A_BIT_VALUE, Vec::new())));
        nested(A_BITS_BIT, &bit)
    };
    let bits: Vec<_> = features.iter().map(bit).collect();
    let wanted = nested(A_FEATURES_WANTED, &[nested(A_BITSET_BITS, &bits)]);
    let request = Features { command: MSG_FEATURES_SET, attributes: vec![header(link), wanted] };
    Connection::open()?.ask(request).map(drop)
}

/// One message of the family: a command and its attributes.
#[derive(Debug)]
struct Features {
    command: u8,
    attributes: Vec<DefaultNla>,
}

impl GenlFamily for Features {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Features {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Features {
    fn parse_with_param(payload: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { command: header.cmd, attributes: attributes(payload)? })
    }
}

/// A generic netlink socket that knows the family's number.
struct Connection {
    socket: Socket,
    family: u16,
}

impl Connection {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let nlas = vec![GenlCtrlAttrs::FamilyName(FAMILY.into())];
        let lookup = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas });
        let found = exchange(&socket, lookup)?.into_iter().flat_map(|answer| answer.nlas);
        let mut id =
            found.filter_map(|nla| if let GenlCtrlAttrs::FamilyId(id) = nla { Some(id) } else { None });
        let family = id.next().ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { socket, family })
    }

    fn ask(&mut self, request: Features) -> io::Result<Vec<Features>> {
        let mut message = GenlMessage::from_payload(request);
        message.set_resolved_family_id(self.family);
        exchange(&self.socket, message)
    }
}

/// Sends one request and collects the answers up to the acknowledgement.
fn exchange<F>(socket: &Socket, request: GenlMessage<F>) -> io::Result<Vec<F>>
where
    F: std::fmt::Debug,
    GenlMessage<F>: NetlinkSerializable + NetlinkDeserializable,
{
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    socket.send(&buffer, 0)?;

    let mut answers = Vec::new();
    loop {
        let (received, _) = socket.recv_from_full()?;
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<GenlMessage<F>>::deserialize(rest).map_err(io::Error::other)?;
            rest = rest.get(message.header.length as usize..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::InnerMessage(answer) => answers.push(answer.into_parts().1),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Error(_) => return Ok(answers),
                _ => {}
            }
        }
    }
}

fn header(link: &str) -> DefaultNla {
    nested(A_HEADER, &[string(A_HEADER_DEV_NAME, link)])
}

fn string(kind: u16, text: &str) -> DefaultNla {
    DefaultNla::new(kind, [text.as_bytes(), &[0]].concat())
}

fn nested(kind: u16, children: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; children.buffer_len()];
    children.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

fn attributes(payload: &[u8]) -> Result<Vec<DefaultNla>, DecodeError> {
    NlasIterator::new(payload).map(|nla| nla.and_then(|nla| DefaultNla::parse(&nla))).collect()
}

fn children(parent: &DefaultNla) -> io::Result<Vec<DefaultNla>> {
    attributes(&value(parent)).map_err(io::Error::other)
}

fn kind(nla: &DefaultNla) -> u16 {
    nla.kind() & !NLA_F_NESTED
}

fn value(nla: &DefaultNla) -> Vec<u8> {
    let mut value = vec![0; nla.value_len()];
    nla.emit_value(&mut value);
    value
}

fn text(nla: &DefaultNla) -> String {
    String::from_utf8_lossy(&value(nla)).trim_end_matches('\0').to_owned()
}
