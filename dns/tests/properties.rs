//! What holds for any cluster: every name that it implies has an answer, and nothing else does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::{Message, ResponseCode};
use proptest::prelude::*;
use seaway_cluster::Snapshot;
use seaway_dns::corefile;
use seaway_dns::engine::{Context, Engine, Step};
use seaway_dns::feed::Feed;
use seaway_dns::name;
use seaway_dns::wire::kind;
use seaway_dns::wire::writer::Transport;

const COREFILE: &str = ".:53 {\n kubernetes cluster.local in-addr.arpa ip6.arpa\n}\n";
const NAMESPACES: [&str; 2] = ["one", "two"];
const NAMES: [&str; 3] = ["api", "db", "web"];
const KINDS: [u16; 4] = [kind::A, kind::AAAA, kind::SRV, kind::TXT];

/// A Service of a generated cluster.
#[derive(Clone, Debug)]
enum Kind {
    Virtual {
        v4: bool,
        v6: bool,
    },
    /// Ready or not, with a hostname or without.
    Headless(Vec<(bool, bool)>),
    Alias,
}

type Cluster = BTreeMap<(usize, usize), Kind>;

fn clusters() -> impl Strategy<Value = Cluster> {
    let kind = prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(v4, v6)| Kind::Virtual { v4, v6 }),
        prop::collection::vec((any::<bool>(), any::<bool>()), 0..4).prop_map(Kind::Headless),
        Just(Kind::Alias),
    ];
    prop::collection::btree_map((0..NAMESPACES.len(), 0..NAMES.len()), kind, 0..6)
}

/// The cluster as manifests.
fn manifests(cluster: &Cluster) -> String {
    let mut text = String::new();
    for namespace in NAMESPACES {
        writeln!(text, "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}").unwrap();
    }
    for (&(namespace, name), kind) in cluster {
        let number = 10 * namespace + name + 1;
        let (namespace, name) = (NAMESPACES[namespace], NAMES[name]);
        let spec = match kind {
            Kind::Virtual { v4, v6 } => {
                let v4 = v4.then(|| (format!("10.0.0.{number}"), "IPv4"));
                let v6 = v6.then(|| (format!("fd00::{number}"), "IPv6"));
                let (ips, families): (Vec<String>, Vec<&str>) = v4.into_iter().chain(v6).unzip();
                let ip = ips.first().map(|ip| format!("clusterIP: '{ip}', ")).unwrap_or_default();
                let ips: Vec<String> = ips.iter().map(|ip| format!("'{ip}'")).collect();
                format!("{ip}clusterIPs: [{}], ipFamilies: [{}], ", ips.join(", "), families.join(", "))
            }
            Kind::Headless(_) => "clusterIP: None, ".to_owned(),
            Kind::Alias => "type: ExternalName, externalName: nowhere.example, ".to_owned(),
        };
        let ports = "ports: [{name: http, port: 80, protocol: TCP}]";
        let metadata = format!("metadata: {{name: {name}, namespace: {namespace}");
        writeln!(text, "---\napiVersion: v1\nkind: Service\n{metadata}}}\nspec: {{{spec}{ports}}}").unwrap();
        if let Kind::Headless(endpoints) = kind {
            let labels = format!("labels: {{kubernetes.io/service-name: {name}}}");
            writeln!(
                text,
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n{metadata}, {labels}}}"
            )
            .unwrap();
            writeln!(text, "addressType: IPv4\n{ports}\nendpoints:").unwrap();
            for (place, (ready, named)) in endpoints.iter().enumerate() {
                let hostname = if *named { format!("hostname: h{place}, ") } else { String::new() };
                let address = format!("addresses: [10.1.{number}.{place}]");
                writeln!(text, "- {{{hostname}{address}, conditions: {{ready: {ready}}}}}").unwrap();
            }
            if endpoints.is_empty() {
                text.push_str("  []\n");
            }
        }
    }
    text
}

/// The names that the cluster implies, without the zone.
fn implied(cluster: &Cluster) -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        ["svc", "pod", "dns-version", "ns.dns"].into_iter().map(str::to_owned).collect();
    names.extend(NAMESPACES.map(|namespace| format!("{namespace}.svc")));
    for (&(namespace, name), kind) in cluster {
        let service = format!("{}.{}.svc", NAMES[name], NAMESPACES[namespace]);
        let ready: Vec<(usize, bool)> = match kind {
            Kind::Headless(endpoints) => {
                let numbered = endpoints.iter().enumerate();
                numbered.filter(|(_, (ready, _))| *ready).map(|(place, (_, named))| (place, *named)).collect()
            }
            _ => Vec::new(),
        };
        for (place, named) in &ready {
            let number = 10 * namespace + name + 1;
            let label = if *named { format!("h{place}") } else { format!("10-1-{number}-{place}") };
            names.insert(format!("{label}.{service}"));
        }
        match kind {
            Kind::Headless(_) if ready.is_empty() => continue,
            Kind::Alias => {}
            Kind::Virtual { .. } | Kind::Headless(_) => {
                names.extend([format!("_tcp.{service}"), format!("_http._tcp.{service}")]);
            }
        }
        names.insert(service);
    }
    names
}

/// Every name that some cluster could imply, and some that none does.
fn candidates() -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        ["svc", "pod", "dns-version", "ns.dns", "dns", "other", "one.pod", "three.svc"]
            .into_iter()
            .map(str::to_owned)
            .collect();
    for (namespace, namespace_name) in NAMESPACES.iter().enumerate() {
        names.insert(format!("{namespace_name}.svc"));
        for (name, service) in NAMES.iter().enumerate() {
            let service = format!("{service}.{namespace_name}.svc");
            let number = 10 * namespace + name + 1;
            for place in 0..5 {
                names.insert(format!("h{place}.{service}"));
                names.insert(format!("10-1-{number}-{place}.{service}"));
            }
            for front in ["_tcp", "_udp", "_http._tcp", "_http._udp", "_x._tcp", "a.b.c"] {
                names.insert(format!("{front}.{service}"));
            }
            names.insert(service);
        }
    }
    names
}

struct Server {
    engine: Engine,
    feed: Feed,
}

impl Server {
    fn new() -> Self {
        let engine = Engine::new(corefile::parse(COREFILE, Path::new(".")).unwrap());
        let feed = Feed::new(&engine);
        Self { engine, feed }
    }

    fn update(&mut self, cluster: &Cluster, previous: &Snapshot) -> Arc<Snapshot> {
        let (mut snapshot, warnings) = Snapshot::from_manifests(&manifests(cluster));
        // A Service may have no address yet.
        let wrong: Vec<_> = warnings.iter().filter(|warning| warning.field != "spec.clusterIP").collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        snapshot.share_with(previous);
        let snapshot = Arc::new(snapshot);
        self.feed.update(&self.engine, &snapshot, 1);
        snapshot
    }

    fn ask(&self, name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&name::parse(&format!("{name}.cluster.local.")).unwrap());
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        let resolved = Some(&seaway_dns::zone::Resolved::Nobody);
        let context = Context { resolved, ..Context::new(Transport::Tcp, 53, Instant::now()) };
        let mut out = Vec::new();
        assert!(
            matches!(self.engine.step(&message, context, &mut out), Step::Reply(_)),
            "{name} is answered"
        );
        out
    }

    /// Everything it answers, but for the serial.
    fn everything(&self) -> BTreeMap<(String, u16), String> {
        let mut answers = BTreeMap::new();
        for name in candidates() {
            for kind in KINDS {
                let message =
                    Message::from_vec(&self.ask(&name, kind)).expect("an answer that others can read");
                let answer = format!("{} {:?}", message.metadata.response_code, message.answers);
                answers.insert((name.clone(), kind), answer);
            }
        }
        answers
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn implied_names_exist_and_no_others(cluster in clusters()) {
        let mut server = Server::new();
        server.update(&cluster, &Snapshot::default());
        let implied = implied(&cluster);
        for name in candidates() {
            for kind in KINDS {
                let message = Message::from_vec(&server.ask(&name, kind)).unwrap();
                let exists = message.metadata.response_code == ResponseCode::NoError;
                prop_assert_eq!(exists, implied.contains(&name), "{} {}", name, kind);
            }
        }
    }

    #[test]
    fn updates_leave_what_a_fresh_start_would(states in prop::collection::vec(clusters(), 1..5)) {
        let mut server = Server::new();
        let mut previous = Arc::default();
        for cluster in &states {
            previous = server.update(cluster, &previous);
        }
        let mut fresh = Server::new();
        fresh.update(states.last().unwrap(), &Snapshot::default());
        prop_assert_eq!(server.everything(), fresh.everything());
    }

    #[test]
    fn no_message_makes_it_panic(message in prop::collection::vec(any::<u8>(), 0..80)) {
        let server = Server::new();
        let context = Context::new(Transport::Udp, 53, Instant::now());
        let mut out = Vec::new();
        if let Step::Reply(_) = server.engine.step(&message, context, &mut out) {
            prop_assert_eq!(&out[..2], &message[..2]);
        }
    }

    #[test]
    fn no_change_of_a_query_makes_it_panic(at in 0_usize..50, octet: u8) {
        let server = Server::new();
        let query = name::parse("_http._tcp.web.one.svc.cluster.local.").unwrap();
        let mut message = [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1][..], &query, &[0, 33, 0, 1]].concat();
        message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 3, 0, 0]);
        let at = at % message.len();
        message[at] = octet;
        let context = Context::new(Transport::Udp, 53, Instant::now());
        let mut out = Vec::new();
        if let Step::Reply(_) = server.engine.step(&message, context, &mut out) {
            prop_assert!(Message::from_vec(&out).is_ok());
        }
    }
}
