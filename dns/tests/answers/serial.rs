//! The zone's serial: it grows with every change that alters an answer, and with no other.

use seaway_dns::feed::Feed;

use super::asked::{headless, serve, snapshot};

const WEB: &str = "---\n{apiVersion: v1, kind: Service, metadata: {name: web, namespace: t}, spec: {clusterIP: 10.0.0.1}}\n";
const READY: &str = "{addresses: [10.1.0.1]}";

/// The serials after manifests that become others, at these times in seconds.
fn serials(steps: &[(&str, u32)]) -> Vec<u32> {
    let engine = serve("ttl 5", "");
    let mut feed = Feed::new(&engine);
    let serial = |(manifests, at): &(&str, u32)| {
        feed.update(&engine, &snapshot(manifests), *at);
        engine.chains()[0].kubernetes.as_ref().unwrap().index().serial
    };
    steps.iter().map(serial).collect()
}

#[test]
fn every_change_of_an_answer_changes_the_serial() {
    let first = headless(READY) + WEB;
    let changes = [
        ("another address", first.replace("10.0.0.1", "10.0.0.2")),
        ("another type", first.replace("clusterIP: 10.0.0.1", "type: ExternalName, externalName: a.example")),
        ("another port", first.replace("5432", "5433")),
        ("another endpoint", first.replace("10.1.0.1", "10.1.0.2")),
        (
            "an endpoint that is not ready",
            first.replace(READY, "{addresses: [10.1.0.1], conditions: {ready: false}}"),
        ),
        ("an endpoint with a name", first.replace(READY, "{addresses: [10.1.0.1], hostname: db-0}")),
        ("a Service less", headless(READY)),
        ("a namespace more", first.clone() + "---\n{apiVersion: v1, kind: Namespace, metadata: {name: u}}\n"),
    ];
    for (what, changed) in changes {
        // Two changes within a second have two serials, and a clock that goes back takes none back.
        assert_eq!(serials(&[(&first, 100), (&changed, 100), (&first, 90)]), [100, 101, 102], "{what}");
        assert_eq!(serials(&[(&first, 100), (&changed, 200)]), [100, 200], "{what}");
    }
}

#[test]
fn what_alters_no_answer_leaves_the_serial() {
    let first = headless(READY) + WEB;
    let noted = first.replace("{name: web,", "{name: web, annotations: {a: b},");
    let pod = first.clone()
        + "---\n{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: t}, status: {podIP: 10.1.0.9}}\n";
    let zoned = first.replace(READY, "{addresses: [10.1.0.1], nodeName: n1}");
    for same in [first.clone(), noted, pod, zoned] {
        assert_eq!(serials(&[(&first, 100), (&same, 200)]), [100, 100], "{same}");
    }
}
