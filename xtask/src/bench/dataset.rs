//! The cluster that is served: as manifests for Seaway, as a zone file for the others, and the names
//! that are asked for.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};

/// The zone.
pub(super) const ZONE: &str = "cluster.local";
const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;
/// Nobody keeps a cluster in one file.
const SERVICES_A_FILE: u32 = 100;
/// Names of one load; they are asked for round and round.
const NAMES: usize = 20_000;
/// Steps through the Services that look random and come back after all of them.
const STRIDE: usize = 7919;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// A load: names and types.
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) queries: Vec<(String, u16)>,
}

/// Writes the folder `manifests`, and `zone` with the same names.
pub(super) fn write(dir: &Path) -> Result<()> {
    let folder = dir.join("manifests");
    fs::create_dir(&folder).context("cannot make a folder for manifests")?;
    let mut zone = format!(
        "$ORIGIN {ZONE}.\n$TTL 30\n@ IN SOA ns.dns hostmaster 1 7200 1800 86400 30\n@ IN NS ns.dns\n\
         ns.dns IN A 10.96.255.255\ndns-version IN TXT \"1.1.0\"\n"
    );
    let namespace =
        "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"bench\"}}\n";
    fs::write(folder.join("namespace.yaml"), namespace).context("cannot write a manifest")?;
    let mut manifests = String::new();
    for number in 0..SERVICES {
        let address = address([10, 96, 0, 0], number);
        let metadata = format!("\"name\": \"svc-{number}\", \"namespace\": \"bench\"");
        let ports = "[{\"name\": \"http\", \"port\": 80, \"protocol\": \"TCP\"}]";
        writeln!(
            manifests,
            "---\n{{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {{{metadata}}}, \"spec\": {{\"clusterIP\": \
             \"{address}\", \"clusterIPs\": [\"{address}\"], \"ipFamilies\": [\"IPv4\"], \"ports\": {ports}}}}}"
        )?;
        let endpoints: Vec<String> = (0..ENDPOINTS)
            .map(|endpoint| {
                let address = self::address([10, 128, 0, 0], number * ENDPOINTS + endpoint);
                format!("{{\"addresses\": [\"{address}\"], \"conditions\": {{\"ready\": true}}}}")
            })
            .collect();
        writeln!(
            manifests,
            "---\n{{\"apiVersion\": \"discovery.k8s.io/v1\", \"kind\": \"EndpointSlice\", \"metadata\": {{{metadata}, \
             \"labels\": {{\"kubernetes.io/service-name\": \"svc-{number}\"}}}}, \"addressType\": \"IPv4\", \"ports\": {ports}, \
             \"endpoints\": [{}]}}",
            endpoints.join(", ")
        )?;
        writeln!(zone, "svc-{number}.bench.svc IN A {address}")?;
        writeln!(zone, "_http._tcp.svc-{number}.bench.svc IN SRV 0 100 80 svc-{number}.bench.svc")?;
        if (number + 1) % SERVICES_A_FILE == 0 {
            let file = folder.join(format!("{number}.yaml"));
            fs::write(file, std::mem::take(&mut manifests)).context("cannot write a manifest")?;
        }
    }
    fs::write(dir.join("zone"), zone).context("cannot write the zone file")
}

/// Names that exist; and what a resolver with `ndots:5` makes of them: 60 of 100 do not exist.
pub(super) fn loads() -> [Load; 2] {
    let service = |place: usize| format!("svc-{}.bench.svc.{ZONE}", place * STRIDE % SERVICES as usize);
    let hits = (0..NAMES).map(|place| (service(place), TYPE_A)).collect();
    let missing = |place: usize| {
        let below = ["bench.svc.", "svc.", ""][place % 3];
        format!("host-{}.example.com.{below}{ZONE}", place * STRIDE % NAMES)
    };
    let mixed = (0..NAMES).map(|place| match place % 5 {
        0 | 1 => (service(place), TYPE_A),
        2 => (missing(place), TYPE_AAAA),
        _ => (missing(place), TYPE_A),
    });
    [Load { name: "hits", queries: hits }, Load { name: "ndots:5", queries: mixed.collect() }]
}

impl Load {
    /// The queries as dnsperf reads them.
    pub(super) fn text(&self) -> String {
        let line =
            |(name, kind): &(String, u16)| format!("{name} {}\n", if *kind == TYPE_A { "A" } else { "AAAA" });
        self.queries.iter().map(line).collect()
    }

    /// The queries as messages.
    pub(super) fn messages(&self) -> Vec<Vec<u8>> {
        self.queries.iter().map(|(name, kind)| message(name, *kind)).collect()
    }
}

fn message(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or_default());
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

fn address(first: [u8; 4], number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from_be_bytes(first) + number)
}
