//! Answers to a batch of queries, on their way back.
//!
//! Answers of one length to one client, and a shorter one after them, go as one message that the kernel
//! cuts up (UDP_SEGMENT, Linux 4.18): they take the way through its stack once. All others share a system call.

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

/// Bits of an answer's place in the batch.
const PLACE_BITS: u32 = 6;

const _: () = assert!(BATCH <= 1 << PLACE_BITS, "a place in the batch is part of a rank");

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
        let mut ranks: [u64; BATCH] =
            array::from_fn(|place| if place < self.count { self.rank(place) } else { 0 });
        let ranks = &mut ranks[..self.count];
        ranks.sort_unstable();
        let order: [usize; BATCH] = array::from_fn(|at| ranks.get(at).map_or(0, |rank| place_of(*rank)));
        let mut alone = [0_usize; BATCH];
        let mut alone_count = 0;
        let mut rest = &order[..self.count];
        while !rest.is_empty() {
            let length = if self.segments { self.group(rest) } else { 1 };
            let (group, after) = rest.split_at(length);
            if length == 1 || !self.send_cut_up(descriptor, group) {
                alone[alone_count..][..length].copy_from_slice(group);
                alone_count += length;
            }
            rest = after;
        }
        self.send_each(descriptor, &alone[..alone_count]);
    }

    /// Brings answers to one client together, longer ones first: a hash of the client, what is left of
    /// the greatest length, the place.
    fn rank(&self, place: usize) -> u64 {
        let client = self.peers[place].as_ref().map_or(0, client_hash);
        let length = u64::from(u16::try_from(self.answers[place].len()).unwrap_or(u16::MAX));
        let shorter = u64::from(u16::MAX) - length;
        client << (16 + PLACE_BITS) | shorter << PLACE_BITS | place as u64
    }

    /// How many of the answers, in order of their ranks, can go with the first.
    fn group(&self, order: &[usize]) -> usize {
        let first = order[0];
        let length = self.answers[first].len();
        if length > SEGMENT_MAX {
            return 1;
        }
        let most = (SEGMENTS_OCTETS_MAX / length.max(1)).min(BATCH);
        let same_client = |place: &&usize| self.peers[**place] == self.peers[first];
        let of_client = order.iter().take(most).take_while(same_client);
        let same = of_client.clone().take_while(|place| self.answers[**place].len() == length).count();
        // The last part may be shorter, and lengths fall in this order.
        same + usize::from(of_client.count() > same)
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

fn place_of(rank: u64) -> usize {
    usize::try_from(rank & ((1 << PLACE_BITS) - 1)).unwrap_or_default()
}

/// Equal for equal clients; others are told apart by comparing them.
fn client_hash(peer: &SockaddrStorage) -> u64 {
    let (address, port) = match (peer.as_sockaddr_in(), peer.as_sockaddr_in6()) {
        (Some(v4), _) => (u64::from(v4.ip().to_bits()), v4.port()),
        (None, Some(v6)) => {
            let bits = v6.ip().to_bits();
            #[expect(clippy::cast_possible_truncation, reason = "both halves count")]
            let halves = (bits >> 64) as u64 ^ bits as u64;
            (halves, v6.port())
        }
        (None, None) => (0, 0),
    };
    // Fibonacci hashing: the upper bits depend on all of them.
    (address ^ u64::from(port) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (16 + PLACE_BITS)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;
    use crate::engine::Source;

    const REPLY: Reply = Reply {
        rcode: 0,
        kind: 1,
        chain: None,
        source: Source::Server,
        dnssec: false,
        refresh: None,
        failure: None,
    };

    /// Sends answers of these lengths to one client after the other and back, and returns the lengths
    /// that came to each; every octet of an answer is its place in the batch.
    fn exchange(outbox: &mut Outbox, lengths: &[usize]) -> [Vec<usize>; 2] {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let clients = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let place_of = |client: &UdpSocket| {
            let port = client.local_addr().unwrap().port();
            SockaddrStorage::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
        };
        let places = clients.each_ref().map(place_of);
        outbox.clear();
        for (place, length) in lengths.iter().enumerate() {
            let answer = outbox.next();
            answer.clear();
            answer.resize(*length, u8::try_from(place).unwrap());
            outbox.push(places[place % 2], (REPLY, 0, false));
        }
        outbox.send(server.as_raw_fd());
        let mut buffer = [0; 2048];
        [0, 1].map(|number| {
            let client = &clients[number];
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let own = lengths.iter().skip(number).step_by(2);
            let mut came: Vec<usize> = own
                .map(|_| {
                    let length = client.recv(&mut buffer).unwrap();
                    let place = usize::from(buffer[0]);
                    assert!(buffer[..length].iter().all(|octet| usize::from(*octet) == place), "a mixture");
                    assert_eq!((length, place % 2), (lengths[place], number), "answer {place}");
                    place
                })
                .collect();
            came.sort_unstable();
            came
        })
    }

    #[test]
    fn every_answer_comes_whole_to_its_client_whatever_the_lengths() {
        let mut outbox = Outbox::new();
        let full: Vec<usize> = (0..BATCH).map(|place| 20 + place * 7 % 5).collect();
        let rows: [&[usize]; 5] =
            [&[40], &[40; BATCH], &full, &[40, 900, 30, 1300, 40, 1300, 50, 900], &[1500, 12]];
        for lengths in rows {
            let places = |first: usize| (first..lengths.len()).step_by(2).collect::<Vec<_>>();
            assert_eq!(exchange(&mut outbox, lengths), [places(0), places(1)], "{lengths:?}");
        }
        assert!(outbox.segments, "the kernel takes messages that it cuts up");
    }

    #[test]
    fn groups_hold_one_client_s_answers_of_one_length_and_a_shorter_one() {
        let mut outbox = Outbox::new();
        let peer = |port: u16| SockaddrStorage::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        for (port, length) in [(1, 40), (1, 40), (1, 30), (1, 20), (2, 20), (2, 1300)] {
            let answer = outbox.next();
            answer.clear();
            answer.resize(length, 0);
            outbox.push(peer(port), (REPLY, 0, false));
        }
        for (order, expected) in
            [(&[0, 1, 2, 3][..], 3), (&[2, 3], 2), (&[3, 4], 1), (&[5, 4], 1), (&[0, 1], 2), (&[3], 1)]
        {
            assert_eq!(outbox.group(order), expected, "{order:?}");
        }
    }
}
