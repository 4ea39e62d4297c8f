//! Datagrams whose fragments come in any order, and those of several clients at once: real sockets answer.

#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use seaway_harness::{privileged, wait_for};
use seaway_lab::{Namespace, Topology};
use seaway_tests::network::{BOTH, Network, vip};
use socket2::{Domain, Protocol, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(60);
/// An answer comes at once, or not at all.
const ANSWER: Duration = Duration::from_millis(700);
const LEN: usize = 2000;
/// Payload of a fragment, in units of eight bytes.
const UNITS: usize = 100;
/// IPv6 header for a fragment (RFC 8200, section 4.5).
const FRAGMENT: u8 = 44;
const UDP: u8 = 17;
/// More clients beside the first one.
const OTHERS: [&str; 2] = ["192.0.2.11", "2001:db8::11"];

fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let add = |all: u32, word: &[u8]| {
        let all = all + u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
        (all & 0xffff) + (all >> 16)
    };
    !u16::try_from(words.fold(0, add)).unwrap()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// A datagram of [`LEN`] bytes as IP packets, in order.
fn fragments(src: SocketAddr, dst: SocketAddr, id: u16) -> Vec<Vec<u8>> {
    let addresses = [octets(src.ip()), octets(dst.ip())].concat();
    let len = u16::try_from(8 + LEN).unwrap().to_be_bytes();
    let ports = [src.port().to_be_bytes(), dst.port().to_be_bytes()].concat();
    let mut datagram = [&ports[..], &len, &[0, 0], &vec![b'f'; LEN]].concat();
    let right = sum(&[&addresses, &[0, UDP], &len, &datagram]).to_be_bytes();
    datagram[6..8].copy_from_slice(&right);
    let parts = datagram.chunks(8 * UNITS).enumerate();
    let last = datagram.len().div_ceil(8 * UNITS) - 1;
    parts
        .map(|(index, part)| {
            let (position, more) = (u16::try_from(index * UNITS).unwrap(), u16::from(index != last));
            if src.is_ipv4() {
                let total = u16::try_from(20 + part.len()).unwrap().to_be_bytes();
                let [id, position] = [id, more << 13 | position].map(u16::to_be_bytes);
                let mut header =
                    [&[0x45, 0], &total[..], &id, &position, &[64, UDP, 0, 0], &addresses].concat();
                let right = sum(&[&header]).to_be_bytes();
                header[10..12].copy_from_slice(&right);
                [&header, part].concat()
            } else {
                let len = u16::try_from(8 + part.len()).unwrap().to_be_bytes();
                let position = (position << 3 | more).to_be_bytes();
                let [high, low] = id.to_be_bytes();
                let header = [&[0x60, 0, 0, 0], &len[..], &[FRAGMENT, 64], &addresses].concat();
                let fragment = [UDP, 0, position[0], position[1], 0, 0, high, low];
                [&header, &fragment[..], part].concat()
            }
        })
        .collect()
}

/// A client with an ordinary socket for answers, and a raw one for fragments.
struct Client {
    socket: UdpSocket,
    raw: Socket,
    to: SocketAddr,
}

impl Client {
    fn new(namespace: &Namespace, from: IpAddr, to: SocketAddr) -> Self {
        let open = || {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.set_read_timeout(Some(ANSWER)).unwrap();
            let domain = if from.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
            // The packets come with their own headers.
            let raw = Socket::new(domain, Type::RAW, Some(Protocol::from(255))).unwrap();
            Self { socket, raw, to }
        };
        namespace.run(open).unwrap()
    }

    fn fragments(&self, id: u16) -> Vec<Vec<u8>> {
        fragments(self.socket.local_addr().unwrap(), self.to, id)
    }

    fn send(&self, packet: &[u8]) {
        self.raw.send_to(packet, &SocketAddr::new(self.to.ip(), 0).into()).unwrap();
    }

    /// Whether a whole answer comes from the Service.
    fn is_answered(&self) -> bool {
        let mut answer = vec![0; 2 * LEN];
        match self.socket.recv_from(&mut answer) {
            Ok((len, from)) => {
                assert_eq!((len, from), (LEN, self.to));
                true
            }
            Err(_) => false,
        }
    }
}

fn check_orders(arguments: &[&str]) {
    let mut network = Network::new(&[0]);
    network.setup = network.setup.arguments(arguments.iter().copied());
    let _agent = network.start();
    let mut id = 1;
    for family in [0, 1] {
        let client = Client::new(&network.topology.client, Topology::CLIENT[family], vip(family, BOTH));
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [2, 0, 1]] {
            // The first one may find neighbours that are not known yet.
            wait_for(&format!("an answer over family {family} in the order {order:?}"), PATIENCE, || {
                id += 1;
                let fragments = client.fragments(id);
                order.iter().for_each(|index| client.send(&fragments[*index]));
                client.is_answered()
            });
            // From then on each one is answered.
            for _ in 0..5 {
                id += 1;
                let fragments = client.fragments(id);
                order.iter().for_each(|index| client.send(&fragments[*index]));
                assert!(client.is_answered(), "family {family}, order {order:?}, identification {id}");
            }
        }
    }
}

#[test]
fn fragments_are_served_in_any_order_through_the_stack() {
    privileged!();
    check_orders(&[]);
}

#[test]
fn fragments_are_served_in_any_order_where_they_are_masqueraded() {
    privileged!();
    check_orders(&["--masquerade-all"]);
}

#[test]
fn fragments_of_two_clients_with_one_identification_stay_apart() {
    privileged!();
    let mut network = Network::new(&[0]);
    network.setup = network.setup.arguments(["--masquerade-all"]);
    let _agent = network.start();
    for family in [0, 1] {
        let namespace = &network.topology.client;
        let other: IpAddr = OTHERS[family].parse().unwrap();
        namespace.add_address("eth0", other.into()).unwrap();
        let addresses = [Topology::CLIENT[family], other];
        let clients = addresses.map(|from| Client::new(namespace, from, vip(family, BOTH)));
        let both = |id| {
            let packets = clients.each_ref().map(|client| client.fragments(id));
            for index in 0..packets[0].len() {
                for (client, packets) in clients.iter().zip(&packets) {
                    client.send(&packets[index]);
                }
            }
            clients.each_ref().map(Client::is_answered) == [true; 2]
        };
        wait_for("an answer to both", PATIENCE, || both(1));
        for id in 2..20 {
            assert!(both(id), "family {family}, identification {id}");
        }
    }
}
