//! Properties: the snapshot is a function of what the files say.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::SystemTime;

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use seaway_cluster::manifests::ManifestDir;
use seaway_cluster::{AddressFamily, ObjectName, Snapshot};

use super::{folder, service, services};

/// Files that are written one after another, some of them twice.
fn writes() -> impl Strategy<Value = Vec<(u8, u8, u16)>> {
    prop::collection::vec((0..4_u8, 0..6_u8, 1..100_u16), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_edits_ends_in_the_same_snapshot(writes in writes(), again in any::<Index>()) {
        let last: BTreeMap<u8, (u8, u16)> =
            writes.iter().map(|(file, name, port)| (*file, (*name, *port))).collect();
        let dir = folder(&[]);
        let write = |file: u8, name: u8, port: u16| {
            let path = dir.path().join(format!("{file}.yaml"));
            fs::write(path, service(&format!("s{name}"), port)).unwrap();
        };
        let (file, name, port) = writes[0];
        write(file, name, port);
        let mut edited = ManifestDir::open(dir.path()).unwrap();
        for (file, name, port) in &writes {
            write(*file, *name, *port);
            if again.index(2) == 0 {
                edited.reload(SystemTime::now());
            }
        }
        edited.reload(SystemTime::now());
        let fresh = ManifestDir::open(dir.path()).unwrap();
        let parts = |dir: &ManifestDir| (dir.current().snapshot.clone(), dir.current().warnings.clone());
        prop_assert_eq!(parts(&edited), parts(&fresh));
        // The first file that names a Service decides.
        let mut expected: BTreeMap<u8, u16> = BTreeMap::new();
        for (name, port) in last.values() {
            expected.entry(*name).or_insert(*port);
        }
        let expected: Vec<_> = expected.iter().map(|(name, port)| format!("s{name}:{port}")).collect();
        prop_assert_eq!(services(&fresh.current().snapshot), expected.join(" "));
    }

    #[test]
    fn a_join_holds_each_address_once_and_the_last_that_is_not_terminating(
        entries in prop::collection::vec((0..3_usize, 0..5_u8, any::<bool>()), 0..30),
    ) {
        let mut slices = [const { String::new() }; 3];
        for (index, (slice, host, terminating)) in entries.iter().enumerate() {
            slices[*slice] += &format!(
                "{{addresses: [10.0.0.{host}], nodeName: n{index}, conditions: {{terminating: {terminating}}}}}, "
            );
        }
        let documents = slices.iter().enumerate().map(|(index, endpoints)| format!(
            "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s{index}, labels: \
             {{kubernetes.io/service-name: web}}}}, addressType: IPv4, ports: [{{port: 80}}], endpoints: [{endpoints}]}}\n"
        ));
        let text = documents.collect::<String>() + &service("web", 80);
        let (snapshot, warnings) = Snapshot::from_manifests(&text);
        prop_assert_eq!(warnings, vec![]);
        // kube-proxy's own words: an entry is set unless there is one and the new one terminates.
        let mut expected: BTreeMap<SocketAddr, String> = BTreeMap::new();
        let in_order = (0..3).flat_map(|slice| entries.iter().enumerate().filter(move |(_, entry)| entry.0 == slice));
        for (index, (_, host, terminating)) in in_order {
            let address = SocketAddr::from(([10, 0, 0, *host], 80));
            if !expected.contains_key(&address) || !terminating {
                expected.insert(address, format!("n{index}"));
            }
        }
        let name = ObjectName::new("default", "web");
        let joined = snapshot.endpoints_of(&name, &snapshot.services[&name].ports[0], AddressFamily::Ipv4);
        let found: Vec<_> =
            joined.iter().map(|joined| (joined.address, joined.endpoint.node().unwrap().to_owned())).collect();
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_damaged_document_harms_no_other(
        cuts in subsequence((0..80_usize).collect::<Vec<_>>(), 0..6),
        noise in prop::sample::select(vec!["", "[", "}", "'", "\t", "---\n", ": ", "&a ", "*a", "\u{fffd}", "!x "]),
    ) {
        let damaged = service("a", 1);
        let mut text = String::new();
        for (index, character) in damaged.char_indices() {
            // The last character is the line end before the next document.
            if cuts.contains(&index) && index + 1 < damaged.len() {
                text += noise;
            } else {
                text.push(character);
            }
        }
        let (snapshot, warnings) = Snapshot::from_manifests(&(text + &service("b", 2) + &service("c", 3)));
        let found = services(&snapshot);
        // What is left of the first, if anything, may have got another name.
        prop_assert!(found.contains("b:2 c:3"), "{}", found);
        prop_assert!(warnings.is_sorted());
    }
}
