//! What drivers can do with XDP, by the generic netlink family `netdev` (kernel 6.3).

use std::collections::BTreeSet;
use std::io;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable, Nla, NlasIterator, Parseable, ParseableParametrized,
};
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

const FAMILY: &str = "netdev";
const CMD_DEV_GET: u8 = 1;
const A_DEV_IFINDEX: u16 = 1;
const A_DEV_XDP_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_NDO_XMIT`: the driver transmits frames that another device redirects to it.
const XDP_ACT_NDO_XMIT: u64 = 4;

/// Indexes of the devices that transmit redirected frames; `None` where the kernel does not say.
pub(crate) fn xdp_transmitters() -> Option<BTreeSet<u32>> {
    match list() {
        Ok(devices) => Some(devices),
        Err(error) => {
            tracing::debug!(%error, "the kernel does not tell what drivers can do with XDP");
            None
        }
    }
}

fn list() -> io::Result<BTreeSet<u32>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let nlas = vec![GenlCtrlAttrs::FamilyName(FAMILY.into())];
    let lookup = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas });
    let answers = exchange(&socket, lookup, NLM_F_ACK)?;
    let id = answers.into_iter().flat_map(|answer| answer.nlas).find_map(|nla| match nla {
        GenlCtrlAttrs::FamilyId(id) => Some(id),
        _ => None,
    });
    let mut request = GenlMessage::from_payload(Devices { attributes: Vec::new() });
    request.set_resolved_family_id(id.ok_or(io::ErrorKind::Unsupported)?);
    let devices = exchange(&socket, request, NLM_F_DUMP)?;
    Ok(devices.iter().filter(|device| device.transmits()).filter_map(Devices::index).collect())
}

/// One message of the family.
#[derive(Debug)]
struct Devices {
    attributes: Vec<DefaultNla>,
}

impl Devices {
    fn index(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value(A_DEV_IFINDEX)?.try_into().ok()?))
    }

    fn transmits(&self) -> bool {
        let features = self.value(A_DEV_XDP_FEATURES).and_then(|value| value.try_into().ok());
        features.is_some_and(|value| u64::from_ne_bytes(value) & XDP_ACT_NDO_XMIT != 0)
    }

    fn value(&self, kind: u16) -> Option<Vec<u8>> {
        let nla = self.attributes.iter().find(|nla| nla.kind() == kind)?;
        let mut value = vec![0; nla.value_len()];
        nla.emit_value(&mut value);
        Some(value)
    }
}

impl GenlFamily for Devices {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        CMD_DEV_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Devices {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Devices {
    fn parse_with_param(payload: &[u8], _header: GenlHeader) -> Result<Self, DecodeError> {
        let attributes = NlasIterator::new(payload).map(|nla| nla.and_then(|nla| DefaultNla::parse(&nla)));
        Ok(Self { attributes: attributes.collect::<Result<_, _>>()? })
    }
}

/// Sends one request and collects the answers up to their end.
fn exchange<F>(socket: &Socket, request: GenlMessage<F>, flags: u16) -> io::Result<Vec<F>>
where
    F: std::fmt::Debug,
    GenlMessage<F>: NetlinkSerializable + NetlinkDeserializable,
{
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | flags;
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
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                _ => {}
            }
        }
    }
}
