//! A client that is faster than the servers: many queries in flight, a batch a system call.

use std::array;
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

const BATCH: usize = 64;
const ANSWER_MAX: usize = 1500;
/// Nothing was answered for so long: what was sent is lost, and the rest is sent.
const LOST_AFTER: Duration = Duration::from_millis(20);

/// How many answers came to queries that were asked for so long, and how long that took. `window` are in flight.
pub(super) fn run(
    server: SocketAddr,
    messages: &[Vec<u8>],
    time: Duration,
    window: usize,
) -> Result<(u64, Duration)> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("cannot open a socket")?;
    socket.connect(server).context("cannot connect")?;
    socket.set_read_timeout(Some(LOST_AFTER)).context("cannot set a timeout")?;
    let descriptor = socket.as_raw_fd();
    let mut received = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut sent = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut buffers = vec![[0_u8; ANSWER_MAX]; BATCH];
    let (mut flying, mut next, mut answers) = (0_usize, 0_usize, 0_u64);
    let begun = Instant::now();
    while begun.elapsed() < time {
        while flying + BATCH <= window {
            let slices: [_; BATCH] =
                array::from_fn(|place| [IoSlice::new(&messages[(next + place) % messages.len()])]);
            let nobody: [Option<SockaddrStorage>; BATCH] = [None; BATCH];
            let went = sendmmsg(descriptor, &mut sent, slices.iter(), nobody, [], MsgFlags::empty());
            let count = went.context("cannot send queries")?.count();
            next += count;
            flying += count;
        }
        let mut places = buffers.iter_mut();
        let mut slices: [_; BATCH] = array::from_fn(|_| {
            [IoSliceMut::new(places.next().map_or(&mut [], |place| place.as_mut_slice()))]
        });
        match recvmmsg(descriptor, &mut received, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None) {
            Ok(messages) => {
                let count = messages.count();
                answers += count as u64;
                flying = flying.saturating_sub(count);
            }
            Err(Errno::EAGAIN) => flying = 0,
            Err(error) => return Err(error).context("cannot receive answers"),
        }
    }
    Ok((answers, begun.elapsed()))
}
