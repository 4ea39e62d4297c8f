//! Endpoints joined from EndpointSlices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seaway_cluster::api;
use seaway_cluster::{EndpointSlice, ObjectName, SliceIndex, Snapshot, convert};
use serde::Deserialize;
use serde_json::Value;

use super::{family, parse, port_name};

/// The node that the cases call local.
const NODE: &str = "n1";

/// Cases in which the reference shows a weakness, each with what is right and why.
const DIFFERENCES: [Difference; 3] = [
    Difference {
        id: "addr-invalid",
        reason: "kube-proxy keeps an address that does not parse as <nil>, and counts it as ready; nothing \
                 can be sent there",
        expected: r#"{"demo/web:http": [{"address": "10.1.0.2:8080", "protocol": "TCP", "ready": true,
            "serving": true, "terminating": false, "local": false, "zone_hints": [], "node_hints": []}]}"#,
        local_ready: "{}",
    },
    Difference {
        id: "step-delete-unlabelled",
        reason: "a deleted slice is gone, whether or not its last version carried the label",
        expected: "{}",
        local_ready: "{}",
    },
    Difference {
        id: "step-label-removed",
        reason: "a slice whose label is removed has left the Service",
        expected: "{}",
        local_ready: "{}",
    },
];

struct Difference {
    id: &'static str,
    reason: &'static str,
    expected: &'static str,
    local_ready: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceCase {
    id: String,
    family: String,
    slices: Vec<api::EndpointSlice>,
    #[serde(default)]
    steps: Vec<Step>,
    watched: bool,
    api_valid: bool,
    #[serde(default)]
    crashes: bool,
    expected: Option<Endpoints>,
    #[serde(default)]
    local_ready: Option<LocalReady>,
    #[serde(default)]
    expected_any: Vec<Outcome>,
    #[serde(default, rename = "note")]
    _note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    op: Op,
    slice: api::EndpointSlice,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Apply,
    Delete,
}

type Endpoints = BTreeMap<String, Vec<Entry>>;
type LocalReady = BTreeMap<String, usize>;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcome {
    expected: Endpoints,
    local_ready: LocalReady,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    protocol: String,
    address: String,
    ready: bool,
    serving: bool,
    terminating: bool,
    local: bool,
    zone_hints: BTreeSet<String>,
    node_hints: BTreeSet<String>,
}

pub(super) fn replay(cases: Vec<Value>) -> Vec<super::Outcome> {
    let run = |case: SliceCase| {
        let problem = problem(&case);
        super::Outcome { id: case.id, problem }
    };
    parse(cases).map(run).collect()
}

fn problem(case: &SliceCase) -> Option<String> {
    // The expected outcome is that of the tracker alone, which takes headless slices as well; a whole
    // proxy never sees them.
    let found = joined(case, |slice| EndpointSlice { headless: false, ..slice });
    let seen_by_a_proxy = joined(case, |slice| slice);
    if (seen_by_a_proxy == found) != (case.watched || found.expected.is_empty()) {
        return Some(format!("watched is {}", case.watched));
    }
    if let Some(difference) = DIFFERENCES.iter().find(|difference| difference.id == case.id) {
        let right = Outcome {
            expected: serde_json::from_str(difference.expected).unwrap(),
            local_ready: serde_json::from_str(difference.local_ready).unwrap(),
        };
        let wrong = found != right || Some(&found.expected) == case.expected.as_ref();
        return wrong.then(|| format!("(listed: {}): {found:#?}", difference.reason));
    }
    let same = match (&case.expected, &case.local_ready) {
        (Some(expected), Some(local_ready)) => {
            found.expected == *expected && found.local_ready == *local_ready
        }
        (None, None) if case.crashes => true,
        _ => case.expected_any.contains(&found),
    };
    let refused = !case.api_valid && found.expected.is_empty();
    (!same && !refused).then(|| format!("expected {:#?}, found {found:#?}", case.expected))
}

/// What all slices and steps of a case come to.
fn joined(case: &SliceCase, view: impl Fn(EndpointSlice) -> EndpointSlice) -> Outcome {
    let mut index = SliceIndex::default();
    let slices = case.slices.iter().map(|slice| (&Op::Apply, slice));
    let steps = case.steps.iter().map(|step| (&step.op, &step.slice));
    for (op, object) in slices.chain(steps) {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let name = ObjectName::new(text(&object.metadata.namespace), text(&object.metadata.name));
        match (op, convert::endpoint_slice(object, &mut Vec::new())) {
            (Op::Apply, Ok(Some(slice))) => index.insert(Arc::new(view(slice))),
            (Op::Apply | Op::Delete, _) => _ = index.remove(&name),
        }
    }
    let snapshot = Snapshot { slices: index.into_slices(), ..Snapshot::default() };
    let family = family(&case.family);
    let mut outcome = Outcome { expected: BTreeMap::new(), local_ready: BTreeMap::new() };
    for service in snapshot.slices.keys() {
        for (key, entries) in snapshot.endpoints_by_port(service, family) {
            let entries = entries.iter().map(|joined| Entry {
                protocol: key.protocol.to_string(),
                address: joined.address.to_string(),
                ready: joined.endpoint.ready,
                serving: joined.endpoint.serving,
                terminating: joined.endpoint.terminating,
                local: joined.endpoint.node.as_deref() == Some(NODE),
                zone_hints: joined.endpoint.hints.zones.iter().map(ToString::to_string).collect(),
                node_hints: joined.endpoint.hints.nodes.iter().map(ToString::to_string).collect(),
            });
            outcome.expected.entry(port_name(service, key.name)).or_default().extend(entries);
        }
        let ready = snapshot.local_ready(service, family, NODE);
        if ready > 0 {
            outcome.local_ready.insert(service.to_string(), ready);
        }
    }
    outcome.expected.values_mut().for_each(|entries| entries.sort());
    outcome
}
