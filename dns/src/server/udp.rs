//! Plain UDP: one thread and one socket a core, a batch of datagrams a system call.

use std::array;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};

use super::outbox::Outbox;
use super::report::{Answered, report};
use super::service::{Arrival, Service};
use crate::block::Place;
use crate::engine::{Context, Engine, Step};
use crate::metrics::Sample;
use crate::wire::writer::Transport;

/// Datagrams of one system call. A loaded server fills them, an idle one does not wait for more.
pub(super) const BATCH: usize = 64;
/// Longer queries are cut, and a cut query is malformed. At a power of two, all queries of a batch would
/// fall on the same few lines of a cache.
const QUERY_MAX: usize = 4096 + 192;

/// One thread's part of the server.
pub(super) struct Worker {
    socket: Arc<UdpSocket>,
    /// The address that is asked; nothing where the socket has all of them.
    local: Option<IpAddr>,
    service: Arc<Service>,
    place: Place,
    number: usize,
}

impl Worker {
    pub(super) fn new(socket: UdpSocket, service: Arc<Service>, place: Place, number: usize) -> Self {
        let local = socket.local_addr().ok().map(|local| local.ip()).filter(|local| !local.is_unspecified());
        Self { socket: Arc::new(socket), local, service, place, number }
    }

    pub(super) fn spawn(self, stop: Arc<AtomicBool>) -> JoinHandle<()> {
        let runtime = tokio::runtime::Handle::current();
        std::thread::spawn(move || {
            let _entered = runtime.enter();
            self.run(&stop);
        })
    }

    fn run(&self, stop: &AtomicBool) {
        let mut buffers = vec![[0_u8; QUERY_MAX]; BATCH];
        let mut received = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let mut outbox = Outbox::new();
        let mut turn = 0_usize;
        while !stop.load(Ordering::Acquire) {
            let mut places = buffers.iter_mut();
            let mut slices: [_; BATCH] = array::from_fn(|_| {
                [IoSliceMut::new(places.next().map_or(&mut [], |place| place.as_mut_slice()))]
            });
            let descriptor = self.socket.as_raw_fd();
            let messages =
                recvmmsg(descriptor, &mut received, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None);
            let messages = match messages {
                Ok(messages) => messages,
                // Nothing came for a while, or an earlier answer found nobody.
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => continue,
                Err(error) => {
                    tracing::error!(%error, "cannot receive queries");
                    return;
                }
            };
            let begun = Instant::now();
            outbox.clear();
            let engine = self.service.engine();
            for message in messages {
                let (Some(peer), Some(query)) = (message.address, message.iovs().next()) else { continue };
                turn = turn.wrapping_add(1);
                self.answer(&engine, (query, peer), turn, begun, &mut outbox);
            }
            outbox.send(descriptor);
            self.count(&outbox, begun);
        }
    }

    fn answer(
        &self,
        engine: &Engine,
        (query, peer): (&[u8], SockaddrStorage),
        turn: usize,
        now: Instant,
        outbox: &mut Outbox,
    ) {
        let out = outbox.next();
        let client = if engine.needs_peer() { address(&peer) } else { None };
        let context = Context { peer: client, turn, ..Context::new(Transport::Udp, self.place, now) };
        // A query that makes a lookup panic must not take the thread with it.
        let step = catch_unwind(AssertUnwindSafe(|| engine.step(query, context, out)));
        let Ok(step) = step else { return self.service.note_panic() };
        match step {
            Step::Reply(reply) => {
                if engine.reports(&reply) {
                    let (answer, client, took) = (out.as_slice(), address(&peer), now.elapsed());
                    let (transport, local, reply) = (Transport::Udp, self.local, &reply);
                    report(engine, &Answered { query, answer, reply, transport, client, local, took });
                }
                if reply.refresh.is_some() {
                    Arc::clone(&self.service).refresh(query.to_vec(), reply);
                }
                let v6 = peer.as_sockaddr_in6().is_some();
                outbox.push(peer, (reply, query.len(), v6));
            }
            Step::Silence => {}
            Step::Ask(_) => {
                let Some(address) = address(&peer) else { return };
                let (place, local) = (self.place, self.local);
                let arrival = Arrival { transport: Transport::Udp, place, peer: address, local };
                let socket = Arc::clone(&self.socket);
                Arc::clone(&self.service).later(query.to_vec(), arrival, move |answer| {
                    // The client may be gone, which is its own affair.
                    if let Err(error) = socket.send_to(answer, address) {
                        tracing::debug!(%address, %error, "cannot send an answer");
                    }
                });
            }
        }
    }

    fn count(&self, outbox: &Outbox, begun: Instant) {
        let took = begun.elapsed();
        for (response, (reply, request, v6)) in outbox.sent() {
            let sample = Sample { reply, transport: Transport::Udp, v6, request, response, took };
            self.service.count(self.number, &sample);
        }
    }
}

fn address(peer: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = peer.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| peer.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port()))))
}
