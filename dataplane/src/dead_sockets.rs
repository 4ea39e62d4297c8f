//! Ending connected UDP sockets whose endpoint is gone: their owner gets `ECONNABORTED` at once,
//! instead of sending into the void (`SOCK_DESTROY`, kernel 4.5, `CONFIG_INET_DIAG_DESTROY`).
//!
//! Only sockets of the agent's own network namespace are reached. Packets of pods on interfaces of
//! ours are translated one by one, so their sockets need no end.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytemuck::{Pod, Zeroable};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use seaway_common::proto;

use crate::netlink::{self, Header, NLM_F_ACK, NLM_F_DUMP};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// `1 << TCP_ESTABLISHED`, which a connected UDP socket is too.
const CONNECTED: u32 = 1 << 1;

/// `struct inet_diag_sockid`
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SocketId {
    sport: [u8; 2],
    dport: [u8; 2],
    src: [u8; 16],
    dst: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// With a `struct inet_diag_req_v2`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Request {
    header: Header,
    family: u8,
    protocol: u8,
    extensions: u8,
    _pad: u8,
    states: u32,
    id: SocketId,
}

const _: () = assert!(size_of::<SocketId>() == 48 && size_of::<Request>() == 72);

/// Ends the UDP sockets of this namespace that are connected to one of these. Returns how many.
///
/// # Errors
/// The kernel's: without the right or the feature, for example.
pub fn end(peers: &BTreeSet<SocketAddr>) -> io::Result<usize> {
    let mut ended = 0;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let family = u8::try_from(family).unwrap_or(0);
        for id in connected(family)? {
            if peers.contains(&peer(family, &id)) {
                ended += usize::from(destroy(family, id)?);
            }
        }
    }
    Ok(ended)
}

fn connected(family: u8) -> io::Result<Vec<SocketId>> {
    let mut ids = Vec::new();
    let request = request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family, SocketId::zeroed());
    netlink::ask(NETLINK_SOCK_DIAG, &request, |payload| {
        // The family, three other bytes, and the socket's identity.
        let id = payload.get(4..4 + size_of::<SocketId>());
        ids.extend(id.map(bytemuck::pod_read_unaligned::<SocketId>));
    })?;
    Ok(ids)
}

/// False if the socket was closed meanwhile.
fn destroy(family: u8, id: SocketId) -> io::Result<bool> {
    match netlink::ask(NETLINK_SOCK_DIAG, &request(SOCK_DESTROY, NLM_F_ACK, family, id), |_| {}) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn request(kind: u16, flags: u16, family: u8, id: SocketId) -> Request {
    let header = Header::of::<Request>(kind, flags);
    Request { header, family, protocol: proto::UDP, states: CONNECTED, id, ..Request::zeroed() }
}

fn peer(family: u8, id: &SocketId) -> SocketAddr {
    let [a, b, c, d, ..] = id.dst;
    let v4 = i32::from(family) == libc::AF_INET;
    let address = if v4 { Ipv4Addr::new(a, b, c, d).into() } else { IpAddr::from(Ipv6Addr::from(id.dst)) };
    SocketAddr::new(address.to_canonical(), u16::from_be_bytes(id.dport))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// Needs root; without it the kernel says so, and nothing is claimed.
    #[test]
    fn only_sockets_of_the_given_peers_end() {
        let pair = |text: &str| {
            let server = UdpSocket::bind(text).unwrap();
            let client = UdpSocket::bind(text).unwrap();
            client.connect(server.local_addr().unwrap()).unwrap();
            (server, client)
        };
        let ((gone, dead), (_stays, alive)) = (pair("127.0.0.1:0"), pair("127.0.0.1:0"));
        match end(&BTreeSet::from([gone.local_addr().unwrap()])) {
            Ok(ended) => assert_eq!(ended, 1),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return,
            Err(error) => panic!("{error}"),
        }
        assert!(dead.send(b"x").is_err() || dead.send(b"x").is_err());
        assert!(alive.send(b"x").is_ok());
    }
}
