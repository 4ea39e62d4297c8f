//! Frames as they are, sent and received at a link: spoofed sources, floods, headers that no socket
//! writes.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::{
        socket::{
            AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send,
            setsockopt, socket, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};

use crate::{Error, Namespace};

const FRAME_MAX: usize = 65_536;
/// Room for what comes while nobody reads.
const BUFFER_BYTES: usize = 8 << 20;
/// What the kernel calls frames that leave by the link (`PACKET_OUTGOING`).
const OUTGOING: u8 = 4;
const POLL: i64 = 20;

/// A packet socket bound to a link of a namespace.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
    link: String,
}

impl RawSocket {
    /// Opens one. What arrives from now on is kept until it is read.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when there is no such link.
    pub fn open(namespace: &Namespace, link: &str) -> Result<Self, Error> {
        let action = format!("open a packet socket at {link} in namespace {}", namespace.name());
        let socket = namespace.run(|| open(link))?.map_err(Error::system(action))?;
        Ok(Self { socket, link: link.into() })
    }

    /// Sends a frame, Ethernet header included.
    ///
    /// # Errors
    /// When the link is down or the frame is too long.
    pub fn send(&self, frame: &[u8]) -> Result<(), Error> {
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
                // The link's queue is full for a moment.
                Err(Errno::ENOBUFS | Errno::EAGAIN) => std::thread::yield_now(),
                result => return result.map(drop).map_err(Error::system(format!("send at {}", self.link))),
            }
        }
    }

    /// The next frame that arrives and that `wanted` takes, until `limit` has passed.
    ///
    /// # Errors
    /// When the link goes away.
    pub fn receive(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, Error> {
        let deadline = Instant::now() + limit;
        let mut buffer = vec![0; FRAME_MAX];
        while Instant::now() < deadline {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, from)) => {
                    let is_incoming = from.is_some_and(|from| from.pkttype() != OUTGOING);
                    if is_incoming && wanted(&buffer[..length]) {
                        return Ok(Some(buffer[..length].to_vec()));
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(Error::system(format!("receive at {}", self.link))(error)),
            }
        }
        Ok(None)
    }

    /// How many frames that `wanted` takes arrive before nothing does for `quiet`.
    ///
    /// # Errors
    /// When the link goes away.
    pub fn count(&self, quiet: Duration, mut wanted: impl FnMut(&[u8]) -> bool) -> Result<usize, Error> {
        let mut count = 0;
        while self.receive(quiet, &mut wanted)?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

fn open(link: &str) -> io::Result<OwnedFd> {
    let own = getifaddrs()?.filter(|interface| interface.interface_name == link);
    let own = own.filter_map(|interface| interface.address?.as_link_addr().copied()).next();
    let own = own.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no link {link}")))?;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(POLL))?;
    bind(socket.as_raw_fd(), &own)?;
    Ok(socket)
}
