//! Sockets to listen on.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, Socket, Type};

use crate::block::{Block, Place, Scheme};

/// What a queue of datagrams holds at most; beyond it the kernel drops what comes.
const RECEIVE_BUFFER: usize = 4 << 20;
const BACKLOG: i32 = 1024;
/// A thread looks this often whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// An address and a port that are listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Where; port 0 takes any that is free.
    pub address: SocketAddr,
    /// By what blocks are chosen, besides names.
    pub place: Place,
}

/// The sockets of a listener.
pub(super) struct Opened {
    pub(super) address: SocketAddr,
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Option<std::net::TcpListener>,
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The addresses of this machine cannot be listed.
    #[error("cannot list the addresses of this machine's interfaces")]
    Interfaces(#[source] io::Error),
}

impl Listener {
    /// The listeners of blocks: the addresses that `bind` names, and otherwise every address that
    /// an interface has now, each with its own socket, so that answers come from the address that
    /// was asked.
    ///
    /// # Errors
    /// If the addresses of the machine cannot be listed.
    pub fn of(blocks: &[Block]) -> Result<Vec<Self>, Error> {
        let mut listeners = BTreeSet::new();
        for block in blocks {
            let addresses = if block.bind.is_empty() { local_addresses()? } else { block.bind.clone() };
            listeners.extend(
                addresses
                    .into_iter()
                    .map(|address| Self { address: (address, block.port).into(), place: block.place() }),
            );
        }
        Ok(listeners.into_iter().collect())
    }

    pub(super) fn open(&self, threads: usize) -> Result<Opened, Error> {
        let failed = |source| Error::Listen { address: self.address, source };
        if self.place.scheme == Scheme::Quic {
            let socket = udp(self.address).map_err(failed)?;
            let address = socket.local_addr().map_err(failed)?;
            return Ok(Opened { address, udp: vec![socket], tcp: None });
        }
        // Over TCP first: the port that is free there is most likely free over UDP as well.
        let tcp = tcp(self.address)?;
        let address = tcp.local_addr().map_err(failed)?;
        let threads = if self.place.scheme == Scheme::Dns { threads } else { 0 };
        let udp = (0..threads).map(|_| udp(address)).collect::<io::Result<_>>().map_err(failed)?;
        Ok(Opened { address, udp, tcp: Some(tcp) })
    }
}

/// Every address that can be listened on; link-local ones need a scope and are left out.
pub fn local_addresses() -> Result<Vec<IpAddr>, Error> {
    addresses(|_| true)
}

/// Those of one interface; none if there is no such interface.
pub fn addresses_of(interface: &str) -> Result<Vec<IpAddr>, Error> {
    addresses(|name| name == interface)
}

fn addresses(wanted: impl Fn(&str) -> bool) -> Result<Vec<IpAddr>, Error> {
    let interfaces = getifaddrs().map_err(|error| Error::Interfaces(error.into()))?;
    let interfaces = interfaces.filter(|interface| wanted(&interface.interface_name));
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| {
            let v6 = address.as_sockaddr_in6()?.ip();
            (!v6.is_unicast_link_local()).then_some(IpAddr::V6(v6))
        })
    });
    Ok(addresses.collect::<BTreeSet<_>>().into_iter().collect())
}

/// A listening socket over TCP that does not block.
pub(super) fn tcp(address: SocketAddr) -> Result<std::net::TcpListener, Error> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            // The unspecified address listens for both families, as in CoreDNS.
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| Error::Listen { address, source })
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_read_timeout(Some(LOOK))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
