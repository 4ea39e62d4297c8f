//! A whole zone of the cluster, record by record.

use std::net::IpAddr;

use crate::index::{Entry, Index, NameServer, Port, Records};
use crate::name::Zone;
use crate::options::Options;
use crate::record::Record;
use crate::wire::kind;

/// What the weights of a slice's SRV records add up to, as far as whole numbers can.
const WEIGHTS: usize = 100;

/// The records of a forward zone, the SOA first and again at the end (RFC 5936). Pods have no part
/// in it: their names follow from their addresses.
pub fn transfer(index: &Index, options: &Options, zone: &Zone) -> Vec<Record> {
    let mut list = List { options, zone: zone.wire(), records: Vec::new() };
    list.soa(index);
    list.servers(index);
    let mut entries: Vec<&Entry> = if options.is_shared(zone) {
        index.imports().map(|entry| &**entry).collect()
    } else {
        index.services().map(|entry| &**entry).collect()
    };
    entries.sort_by(|a, b| (&a.name.name, &a.name.namespace).cmp(&(&b.name.name, &b.name.namespace)));
    for entry in entries {
        list.service(entry);
    }
    list.soa(index);
    list.records
}

struct List<'o> {
    options: &'o Options,
    zone: &'o [u8],
    records: Vec<Record>,
}

impl List<'_> {
    fn push(&mut self, front: &[u8], kind: u16, ttl_s: u32, data: &[u8]) {
        let owner = [front, self.zone].concat().into();
        self.records.push(Record { owner, kind, ttl_s, data: data.into() });
    }

    fn address(&mut self, front: &[u8], address: IpAddr, ttl_s: u32) {
        match address {
            IpAddr::V4(address) => self.push(front, kind::A, ttl_s, &address.octets()),
            IpAddr::V6(address) => self.push(front, kind::AAAA, ttl_s, &address.octets()),
        }
    }

    fn srv(&mut self, front: &[u8], weight: u16, port: u16, target: &[u8]) {
        let mut data = Vec::new();
        for number in [0, weight, port] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        data.extend_from_slice(target);
        data.extend_from_slice(self.zone);
        self.push(front, kind::SRV, self.options.ttl_s, &data);
    }

    fn soa(&mut self, index: &Index) {
        let mut data = [b"\x02ns\x03dns", self.zone, b"\x0ahostmaster", self.zone].concat();
        for number in super::apex::soa_numbers(index, self.options.ttl_s) {
            data.extend_from_slice(&number.to_be_bytes());
        }
        self.push(b"", kind::SOA, super::apex::soa_ttl_s(self.options), &data);
    }

    /// Addresses of name servers live for 0 seconds here, as CoreDNS has it.
    fn servers(&mut self, index: &Index) {
        let servers = index.name_servers();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for server in servers {
            let front = front_of(server);
            if !seen.contains(&front) {
                self.push(b"", kind::NS, self.options.ttl_s, &[&front, self.zone].concat());
                seen.push(front.clone());
            }
            for address in super::apex::addresses_of(server) {
                self.address(&front, address, 0);
            }
        }
        if servers.is_empty() {
            let front = b"\x02ns\x03dns";
            self.push(b"", kind::NS, self.options.ttl_s, &[front, self.zone].concat());
            let own = self.options.local_ips.iter().filter(|address| !address.is_loopback());
            own.for_each(|address| self.address(front, *address, 0));
        }
    }

    fn service(&mut self, entry: &Entry) {
        let stem = entry.stem();
        if let Some(target) = &entry.alias {
            return self.push(stem, kind::CNAME, self.options.ttl_s, target);
        }
        if entry.headless {
            return self.headless(entry);
        }
        let records = entry.addresses.v4.from(0).chain(entry.addresses.v6.from(0));
        for address in records.filter_map(Records::address) {
            self.address(stem, address, self.options.ttl_s);
        }
        if entry.addresses.is_empty() {
            return;
        }
        for port in entry.ports.iter() {
            self.srv(stem, 100, port.port, stem);
            if !port.name.is_empty() {
                self.srv(&below(port, stem), 100, port.port, stem);
            }
        }
    }

    fn headless(&mut self, entry: &Entry) {
        for member in entry.members.iter() {
            let same_slice = entry.members.iter().filter(|other| other.is_in_slice_of(member)).count();
            let weight = u16::try_from((WEIGHTS / same_slice.max(1)).max(1)).unwrap_or(1);
            let mut front = Vec::new();
            member.push_name(&mut front);
            front.extend_from_slice(entry.stem());
            if !member.repeated {
                self.address(entry.stem(), member.address, self.options.ttl_s);
                self.address(&front, member.address, self.options.ttl_s);
            }
            for port in entry.members.ports_of(member).iter().filter(|port| !port.name.is_empty()) {
                self.srv(&below(port, entry.stem()), weight, port.port, &front);
            }
        }
    }
}

/// `_http._tcp` in front of a Service's labels.
fn below(port: &Port, stem: &[u8]) -> Vec<u8> {
    let mut front = Vec::new();
    for label in [port.name.to_ascii_lowercase(), port.protocol.to_string().to_ascii_lowercase()] {
        front.push(u8::try_from(label.len() + 1).unwrap_or(u8::MAX));
        front.push(b'_');
        front.extend_from_slice(label.as_bytes());
    }
    front.extend_from_slice(stem);
    front
}

fn front_of(server: &NameServer) -> Vec<u8> {
    let mut front = Vec::new();
    if let Some(member) = server.member.and_then(|place| server.entry.members.at(place)) {
        member.label().push_to(&mut front);
    }
    front.extend_from_slice(server.entry.stem());
    front
}
