//! Answers to a batch of queries, on their way back.
//!
//! Answers of one length to one client go as one message that the kernel cuts up (UDP_SEGMENT, Linux
//! 4.18): they take the way through its stack once. All others share a system call.

use std::array;
use std::io::IoSlice;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, sendmsg};

use super::udp::BATCH;
use crate::engine::Reply;

/// What an answer takes at first; few are longer.
const ANSWER_USUAL: usize = 1232;
/// Longer answers go by themselves: a part must fit into a packet of any link, and is not cut again.
const SEGMENT_MAX: usize = 1232;
/// Octets of one message that is cut up; the kernel takes a little more.
const SEGMENTS_OCTETS_MAX: usize = 60_000;

/// What is counted of an answer besides its length: the octets of the query, and whether it came over IPv6.
type Counted = (Reply, usize, bool);

const _: () = assert!(BATCH <= 64, "a batch is also a set of bits");

/// Answers, and whom they go to.
pub(super) struct Outbox {
    answers: [Vec<u8>; BATCH],
    peers: [Option<SockaddrStorage>; BATCH],
    counted: [Option<Counted>; BATCH],
    count: usize,
    headers: MultiHeaders<SockaddrStorage>,
    /// The kernel and the way out can cut messages up.
    segments: bool,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            answers: array::from_fn(|_| Vec::with_capacity(ANSWER_USUAL)),
            peers: [None; BATCH],
            counted: [None; BATCH],
            count: 0,
            headers: MultiHeaders::preallocate(BATCH, None),
            segments: true,
        }
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// Where the next answer is written.
    pub(super) fn next(&mut self) -> &mut Vec<u8> {
        &mut self.answers[self.count]
    }

    /// What was written is an answer to this client.
    pub(super) fn push(&mut self, peer: SockaddrStorage, counted: Counted) {
        self.peers[self.count] = Some(peer);
        self.counted[self.count] = Some(counted);
        self.count += 1;
    }

    /// The length of each answer, and what is counted of it.
    pub(super) fn sent(&self) -> impl Iterator<Item = (usize, Counted)> {
        let all = self.answers.iter().zip(&self.counted).take(self.count);
        all.filter_map(|(answer, counted)| Some((answer.len(), (*counted)?)))
    }

    /// Sends the answers. One that cannot be sent is left out: its client will ask again.
    pub(super) fn send(&mut self, descriptor: i32) {
        let mut gone = 0_u64;
        let mut alone = [0_usize; BATCH];
        let mut alone_count = 0;
        for first in 0..self.count {
            if gone & bit(first) != 0 {
                continue;
            }
            let mut group = [first; BATCH];
            let length = if self.segments { self.group(first, gone, &mut group) } else { 1 };
            if length > 1 && self.send_cut_up(descriptor, &group[..length]) {
                group[..length].iter().for_each(|place| gone |= bit(*place));
            } else {
                alone[alone_count] = first;
                alone_count += 1;
            }
        }
        self.send_each(descriptor, &alone[..alone_count]);
    }

    /// The answers that can go with the first of them. Returns their number.
    fn group(&self, first: usize, gone: u64, group: &mut [usize; BATCH]) -> usize {
        let length = self.answers[first].len();
        if length > SEGMENT_MAX {
            return 1;
        }
        let most = (SEGMENTS_OCTETS_MAX / length.max(1)).min(BATCH);
        let mut count = 1;
        for place in first + 1..self.count {
            let fits = count < most && gone & bit(place) == 0 && self.answers[place].len() == length;
            if fits && self.peers[place] == self.peers[first] {
                group[count] = place;
                count += 1;
            }
        }
        count
    }

    /// Returns whether they went.
    fn send_cut_up(&mut self, descriptor: i32, group: &[usize]) -> bool {
        let slices: [_; BATCH] = array::from_fn(|at| {
            IoSlice::new(group.get(at).map_or(&[], |place| self.answers[*place].as_slice()))
        });
        let Ok(length) = u16::try_from(self.answers[group[0]].len()) else { return false };
        let segments = [ControlMessage::UdpGsoSegments(&length)];
        let peer = self.peers[group[0]].as_ref();
        match sendmsg(descriptor, &slices[..group.len()], &segments, MsgFlags::empty(), peer) {
            Ok(_) => true,
            // Nobody was there for an earlier answer, or there is no room: each is tried by itself.
            Err(Errno::ECONNREFUSED | Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR | Errno::EPERM) => false,
            Err(error) => {
                tracing::debug!(%error, "answers go one by one: messages cannot be cut up here");
                self.segments = false;
                false
            }
        }
    }

    fn send_each(&mut self, descriptor: i32, places: &[usize]) {
        let peers: [_; BATCH] = array::from_fn(|at| places.get(at).and_then(|place| self.peers[*place]));
        let mut first = 0;
        while first < places.len() {
            let slices: [_; BATCH] = array::from_fn(|at| {
                let place = places.get(first + at);
                [IoSlice::new(place.map_or(&[], |place| self.answers[*place].as_slice()))]
            });
            let rest = places.len() - first;
            let peers = &peers[first..places.len()];
            let flags = MsgFlags::empty();
            let sent = sendmmsg(descriptor, &mut self.headers, slices[..rest].iter(), peers, [], flags);
            first += sent.map_or(1, |sent| sent.count().max(1));
        }
    }
}

/// A place of the batch, in a set of them.
fn bit(place: usize) -> u64 {
    1 << place
}
