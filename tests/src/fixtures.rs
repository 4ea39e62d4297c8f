//! A table of packets with names, for the host and for the kernel.

use crate::{
    frame::{Frame, Kind, L3},
    site::{BACKENDS, CLIENT, VIP, addr},
};

/// Packets in an order that matters: replies follow what they answer.
pub fn fixtures() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (family, name) in [(0, "v4"), (1, "v6")] {
        let [client, vip, backend] = [CLIENT[family], VIP[family], BACKENDS[family][0]].map(addr);
        let mut add = |what: &str, bytes: Vec<u8>| all.push((format!("{name} {what}"), bytes));
        let frame = |kind| Frame::new(client, vip, kind);
        let change = |kind, change: fn(&mut Vec<u8>)| {
            let mut bytes = frame(kind).bytes();
            change(&mut bytes);
            bytes
        };
        add("tcp without a flow", frame(Kind::Ack).bytes());
        add("tcp syn", frame(Kind::Syn).bytes());
        add("tcp syn-ack", frame(Kind::Syn).to(backend).reply(Kind::SynAck).bytes());
        add("tcp ack", frame(Kind::Ack).bytes());
        add("tcp fin", frame(Kind::Fin).bytes());
        add("tcp fin back", frame(Kind::Fin).to(backend).reply(Kind::Fin).bytes());
        add("tcp syn again", frame(Kind::Syn).bytes());
        add("udp", frame(Kind::Datagram).bytes());
        add("udp back", frame(Kind::Datagram).to(backend).reply(Kind::Datagram).bytes());
        add("udp without checksum", frame(Kind::Datagram).bytes_without_checksum());
        add("udp without payload", Frame { payload: vec![], ..frame(Kind::Datagram) }.bytes());
        add("tcp with 1400 bytes", Frame { payload: vec![7; 1400], ..frame(Kind::Ack) }.bytes());
        let padded = |kind| [frame(kind).bytes(), vec![0; 20]].concat();
        add("tcp with padding", padded(Kind::Ack));
        add("unknown address", frame(Kind::Syn).to(client).bytes());
        add("unknown port", frame(Kind::Syn).to((vip.ip(), 9).into()).bytes());
        for (kind, what) in [(Kind::Syn, "tcp"), (Kind::Datagram, "udp")] {
            let whole = frame(kind).bytes();
            let (l4, end) = (frame(kind).l4(), whole.len());
            for (length, cut) in
                [(14, "link header"), (20, "ip"), (l4, "l4"), (l4 + 4, "ports"), (end - 1, "end")]
            {
                add(&format!("{what} cut at the {cut}"), whole[..length].to_vec());
            }
            add(&format!("{what} of another version"), change(kind, |bytes| bytes[L3] ^= 0x10));
            add(
                &format!("{what} in a vlan"),
                change(kind, |bytes| bytes[12..14].copy_from_slice(&[0x81, 0])),
            );
        }
        add("arp", change(Kind::Syn, |bytes| bytes[12..14].copy_from_slice(&[0x08, 0x06])));
        if family == 0 {
            let with = |words: usize, kind| Frame { options: vec![1; 4 * words], ..frame(kind) };
            add("tcp with options", with(3, Kind::Ack).bytes());
            add("udp with all options", with(10, Kind::Datagram).bytes());
            add("icmp", change(Kind::Syn, |bytes| bytes[L3 + 9] = 1));
            add("short ihl", change(Kind::Syn, |bytes| bytes[L3] = 0x44));
            add("long ihl", change(Kind::Datagram, |bytes| bytes[L3] = 0x4f));
            add("total length of less than the header", change(Kind::Syn, |bytes| bytes[L3 + 3] = 19));
            add("total length beyond the packet", change(Kind::Syn, |bytes| bytes[L3 + 3] += 1));
            add("first fragment", change(Kind::Datagram, |bytes| bytes[L3 + 6] = 0x20));
            add("later fragment", change(Kind::Datagram, |bytes| bytes[L3 + 7] = 1));
        } else {
            add("icmp", change(Kind::Syn, |bytes| bytes[L3 + 6] = 58));
            add("fragment header", change(Kind::Datagram, |bytes| bytes[L3 + 6] = 44));
            add("payload beyond the packet", change(Kind::Syn, |bytes| bytes[L3 + 5] += 1));
            add("no payload", change(Kind::Syn, |bytes| bytes[L3 + 5] = 0));
        }
    }
    all
}
