//! The agent's own health: `/healthz` and `/livez`, byte for byte as kube-proxy answers them.
//!
//! Healthy means that no change waits for longer than it may; that nothing changes is no reason to
//! worry. `/healthz` asks in addition whether the node may have traffic: load balancers take a
//! node that is about to go out of rotation by it, while the kubelet must not restart the agent for
//! that, and asks `/livez`. (kube-proxy `pkg/proxy/healthcheck/proxy_health.go`.)

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use seaway_cluster::{AddressFamily, Node};
use serde::Serialize;

use super::Answer;

/// The taint of nodes that the cluster autoscaler is about to remove (KEP-3836).
const ABOUT_TO_GO: &str = "ToBeDeletedByClusterAutoscaler";
/// What Go's zero time looks like.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// kube-proxy's: twice its longest time between syncs.
pub const TIMEOUT: Duration = Duration::from_mins(1);

/// What the health of the agent follows from. Time is passed in.
#[derive(Clone, Debug)]
pub struct ProxyHealth {
    timeout: Duration,
    synced: BTreeMap<AddressFamily, SystemTime>,
    /// The oldest change of each family that waits.
    waiting: BTreeMap<AddressFamily, SystemTime>,
    eligible: bool,
    /// Every program that is asked for is attached.
    attached: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    last_updated: String,
    current_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_eligible: Option<bool>,
    healthy: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    status: BTreeMap<&'static str, FamilyReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyReport {
    last_updated: String,
    healthy: bool,
}

impl ProxyHealth {
    /// Nothing was synced, and the node was not seen. A change may wait for `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, synced: BTreeMap::new(), waiting: BTreeMap::new(), eligible: false, attached: true }
    }

    /// What a family should be is in force.
    pub fn updated(&mut self, family: AddressFamily, now: SystemTime) {
        self.waiting.remove(&family);
        self.synced.insert(family, now);
    }

    /// A change of a family waits from now on, if none does already.
    pub fn queued(&mut self, family: AddressFamily, now: SystemTime) {
        self.waiting.entry(family).or_insert(now);
    }

    /// This node as it is now; `None` when it is not there.
    pub fn note_node(&mut self, node: Option<&Node>) {
        let about_to_go = |node: &Node| node.taints.iter().any(|taint| &*taint.key == ABOUT_TO_GO);
        self.eligible = node.is_some_and(|node| !node.deleting && !about_to_go(node));
    }

    /// Whether every program that is asked for is attached: without one, traffic of load balancers may not be
    /// served. Restarting the agent would help nobody.
    pub fn note_attached(&mut self, attached: bool) {
        self.attached = attached;
    }

    /// Whether no change waits for too long.
    pub fn healthy(&self, now: SystemTime) -> bool {
        self.synced.keys().all(|family| self.family_is_healthy(*family, now))
    }

    /// Whether the node may have traffic from load balancers.
    pub fn node_eligible(&self) -> bool {
        self.eligible
    }

    /// Answers a request for a path, which may have a query.
    pub fn answer(&self, method: &str, target: &str, now: SystemTime) -> Answer {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        match path {
            "/healthz" => self.report(self.healthy(now) && self.attached, Some(self.eligible), now),
            "/livez" => self.report(self.healthy(now), None, now),
            _ => elsewhere(method, path, query),
        }
    }

    /// A family that has never been synced is not late yet.
    fn family_is_healthy(&self, family: AddressFamily, now: SystemTime) -> bool {
        let waits = |since: &SystemTime| now.duration_since(*since).unwrap_or_default();
        self.waiting.get(&family).is_none_or(|since| waits(since) < self.timeout)
    }

    fn report(&self, healthy: bool, node_eligible: Option<bool>, now: SystemTime) -> Answer {
        let good = healthy && node_eligible.unwrap_or(true);
        let latest = if good { Some(now) } else { self.synced.values().max().copied() };
        let status = self.synced.iter().map(|(family, at)| {
            let healthy = self.family_is_healthy(*family, now);
            (family.as_str(), FamilyReport { last_updated: text(*at), healthy })
        });
        let report = Report {
            last_updated: latest.map_or_else(|| NEVER.to_owned(), text),
            current_time: text(now),
            node_eligible,
            healthy,
            status: status.collect(),
        };
        let body = serde_json::to_string(&report).expect("texts and truth values are JSON");
        Answer::typed(if good { 200 } else { 503 }, "application/json", body)
    }
}

/// As Go's request multiplexer: a path that is not clean is redirected to the clean one.
fn elsewhere(method: &str, path: &str, query: Option<&str>) -> Answer {
    if (method, path) == ("OPTIONS", "*") {
        return Answer { status: 200, headers: Vec::new(), body: String::new() };
    }
    let clean = cleaned(path);
    if clean == path || !path.starts_with('/') || method == "CONNECT" {
        return Answer::typed(404, "text/plain; charset=utf-8", "404 page not found\n".to_owned());
    }
    let query = query.filter(|query| !query.is_empty());
    let location = query.map_or_else(|| clean.clone(), |query| format!("{clean}?{query}"));
    // Browsers that do not follow are given a link; other methods are not.
    let mut answer = Answer { status: 307, headers: Vec::new(), body: String::new() };
    if matches!(method, "GET" | "HEAD") {
        answer.headers.push(("Content-Type", "text/html; charset=utf-8".to_owned()));
    }
    if method == "GET" {
        answer.body = format!("<a href=\"{}\">Temporary Redirect</a>.\n\n", escaped(&location));
    }
    answer.headers.push(("Location", location));
    answer
}

/// As Go's `html.EscapeString`.
fn escaped(text: &str) -> String {
    let pairs = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&#34;"), ("'", "&#39;")];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The path without empty, `.` and `..` parts; a slash at its end stays.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{end}", parts.join("/"))
}

/// RFC 3339 in UTC, with as many decimals as needed.
fn text(at: SystemTime) -> String {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
