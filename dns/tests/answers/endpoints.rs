//! Which endpoints have names: ready ones, and others where that is asked for.

use seaway_dns::wire::kind;

use super::asked::{ask, headless, serve};

const READY: &str = "{addresses: [10.1.0.1]}";
const ENDING: &str = "{addresses: [10.1.0.2], conditions: {ready: false, serving: true, terminating: true}}";
const ENDED: &str = "{addresses: [10.1.0.3], conditions: {ready: false, serving: false, terminating: true}}";

/// The response code and the addresses of `db`.
fn check(options: &str, endpoints: &[&str], expected: &str) {
    let engine = serve(options, &headless(&endpoints.join(", ")));
    let found = ask(&engine, "db.t.svc.cluster.local.", kind::A);
    assert_eq!(found.replace("db.t.svc.cluster.local. A ", ""), expected, "{options}, {endpoints:?}");
}

#[test]
fn only_ready_endpoints_have_names() {
    check("ttl 5", &[READY, ENDING, ENDED], "0; 10.1.0.1");
    check("ttl 5", &[ENDING, ENDED], "3");
}

#[test]
fn endpoints_that_end_but_serve_stand_in_where_that_is_asked_for() {
    check("terminating_endpoints", &[READY, ENDING, ENDED], "0; 10.1.0.1");
    check("terminating_endpoints", &[ENDING, ENDED], "0; 10.1.0.2");
    check("terminating_endpoints", &[ENDED], "3");
}
