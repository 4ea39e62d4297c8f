//! Names that pick the endpoints of a headless Service by their zone.

use seaway_dns::wire::kind;

use super::asked::{ask, headless, serve};

const ENDPOINTS: &str = "{addresses: [10.1.0.1], zone: eu-1a}, {addresses: [10.1.0.2], zone: eu-1b}, {addresses: [10.1.0.3], zone: eu.2}";
const VIP: &str = "---\n{apiVersion: v1, kind: Service, metadata: {name: vip, namespace: t}, spec: {clusterIP: 10.0.0.1}}\n";

/// The response code and the number of answers for a name below `t.svc.cluster.local`.
fn check(options: &str, front: &str, kind: u16, expected: (&str, usize)) {
    let manifests = headless(ENDPOINTS) + VIP;
    let found = ask(&serve(options, &manifests), &format!("{front}.t.svc.cluster.local."), kind);
    let mut parts = found.split("; ");
    let found = (parts.next().unwrap(), parts.count());
    assert_eq!(found, expected, "{front} {}", kind::text(kind));
}

#[test]
fn zones_pick_endpoints() {
    check("zonal", "eu-1a.pin._zone.db", kind::A, ("0", 1));
    check("zonal", "EU-1a.PIN._Zone.db", kind::A, ("0", 1));
    check("zonal", "eu-1a.pin._zone.db", kind::SRV, ("0", 1));
    check("zonal", "eu-1a.pin._zone.db", kind::AAAA, ("0", 0));
    check("zonal", "eu.2.pin._zone.db", kind::A, ("0", 1));
    check("zonal", "us.pin._zone.db", kind::A, ("0", 0));
    check("zonal", "us.prefer._zone.db", kind::A, ("0", 3));
    check("zonal", "us.prefer._zone.db", kind::SRV, ("0", 3));
    check("zonal", "eu-1b.prefer._zone.db", kind::A, ("0", 1));
}

#[test]
fn other_directives_and_services_have_no_zones() {
    check("zonal", "eu-1a.near._zone.db", kind::A, ("3", 0));
    check("zonal", "eu-1a.pin._zone.vip", kind::A, ("3", 0));
    check("zonal", "pin._zone.db", kind::A, ("3", 0));
    check("ttl 5", "eu-1a.pin._zone.db", kind::A, ("3", 0));
}
