//! Netlink messages as they are on the wire, for families that no crate of ours has types for.

use std::io;
use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size_force, set_socket_timeout};

const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
const HEADER: usize = size_of::<Header>();
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// `struct nlmsghdr`, which every request begins with.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Header {
    len: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

const _: () = assert!(HEADER == 16);

impl Header {
    /// Of a request of type `R` as a whole.
    pub(crate) fn of<R: Pod>(kind: u16, flags: u16) -> Self {
        let len = u32::try_from(size_of::<R>()).unwrap_or(0);
        Self { len, kind, flags: NLM_F_REQUEST | flags, ..Self::zeroed() }
    }
}

/// Sends a request, which begins with its header, and hands over the payload of each answer, up to the
/// one that ends them: the end of a dump, or what was asked for with [`NLM_F_ACK`].
///
/// # Errors
/// The kernel's.
pub(crate) fn ask<R: Pod>(protocol: isize, request: &R, mut answer: impl FnMut(&[u8])) -> io::Result<()> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(bytemuck::bytes_of(request), 0)?;
    loop {
        let (received, _) = socket.recv_from_full()?;
        for (kind, payload) in messages(&received) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return outcome(payload),
                _ => answer(payload),
            }
        }
    }
}

/// Route netlink's messages about changes.
pub(crate) struct Subscription {
    socket: Socket,
}

/// Room for the messages of some thousand changes while the reader is busy.
const SUBSCRIPTION_BYTES: usize = 4 << 20;

impl Subscription {
    /// To the groups `RTNLGRP_*`, of which only those below 32 exist here.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn new(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, groups.iter().fold(0, |mask, group| mask | 1 << (group - 1))))?;
        // Without CAP_NET_ADMIN the default has to do: lost messages are noticed.
        set_socket_recv_buffer_size_force(&socket, SUBSCRIPTION_BYTES).ok();
        Ok(Self { socket })
    }

    /// [`receive`](Self::receive) waits this long at most; for ever without a time.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        Ok(set_socket_timeout(&self.socket, Timeout::Recv, patience)?)
    }

    /// The next datagram. `Lost` says that there was no room for some.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn receive(&self) -> io::Result<Received> {
        match self.socket.recv_from_full() {
            Ok((bytes, _)) => Ok(Received::Datagram(bytes)),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOBUFS) => Ok(Received::Lost),
                Some(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
                _ => Err(error),
            },
        }
    }
}

/// What [`Subscription::receive`] found.
pub(crate) enum Received {
    /// Messages, to be read with [`messages`].
    Datagram(Vec<u8>),
    /// Messages were lost.
    Lost,
    /// Nothing for now.
    Nothing,
}

/// Kind and payload of each message in a datagram.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let payload = bytes.get(HEADER..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// Type and value of each attribute of a message.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// What a `struct nlmsgerr` says: its code is zero where it is none.
fn outcome(payload: &[u8]) -> io::Result<()> {
    let code = payload.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_end_where_the_bytes_do() {
        let message = |kind: u16, payload: &[u8]| {
            let len = u32::try_from(HEADER + payload.len()).unwrap();
            let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], payload].concat();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let two = [message(7, b"odd"), message(8, b"even")].concat();
        assert_eq!(messages(&two).collect::<Vec<_>>(), [(7, &b"odd"[..]), (8, b"even")]);
        assert_eq!(messages(&two[..two.len() - 1]).count(), 1);
        let attribute = [&[5, 0, 3, 0, b'x', 0, 0, 0][..], &[4, 0, 9, 0]].concat();
        assert_eq!(attributes(&attribute).collect::<Vec<_>>(), [(3, &b"x"[..]), (9, b"")]);
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0, "shorter than its own header");
    }

    #[test]
    fn an_error_of_zero_is_none() {
        assert!(outcome(&0i32.to_ne_bytes()).is_ok());
        assert_eq!(outcome(&(-13i32).to_ne_bytes()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
