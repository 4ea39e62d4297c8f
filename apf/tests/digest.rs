//! Configuration: versions, refusal of broken objects, digestion, dangling schemas, hostile flows.

use seaway_apf::behaviour::Behaviour;
use seaway_apf::builtin;
use seaway_apf::dangling::{StatusWriter, WRITES_PER_MINUTE, condition};
use seaway_apf::engine::{Admission, Engine, Settings};
use seaway_apf::level::Waiter;
use seaway_apf::read::{Configuration, Error, PRESERVE_ZERO};
use seaway_apf::request::{Attributes, RequestInfo};
use seaway_apf::seats::Work;
use seaway_apf::topk::FLOWS_MAX;
use std::sync::Arc;

struct NoOne;

impl Waiter for NoOne {
    fn start(self) {}
}

fn level(version: &str, shares: &str, annotations: &str) -> String {
    format!(
        "{{apiVersion: flowcontrol.apiserver.k8s.io/{version}, kind: PriorityLevelConfiguration, \
         metadata: {{name: own, annotations: {{{annotations}}}}}, \
         spec: {{type: Limited, limited: {{{shares}limitResponse: {{type: Queue, queuing: {{queues: 8, handSize: 2}}}}}}}}}}\n"
    )
}

fn schema(name: &str, level: &str) -> String {
    format!(
        "{{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {{name: {name}}}, \
         spec: {{matchingPrecedence: 50, distinguisherMethod: {{type: ByUser}}, \
         priorityLevelConfiguration: {{name: {level}}}, \
         rules: [{{subjects: [{{kind: User, user: {{name: '*'}}}}], resourceRules: [{{verbs: ['*'], apiGroups: ['*'], \
         resources: ['*'], clusterScope: true, namespaces: ['*']}}]}}]}}}}\n"
    )
}

fn read(text: &str) -> Configuration {
    Configuration::from_text("test", text).unwrap()
}

fn attributes(user: &str) -> Arc<Attributes> {
    let request = RequestInfo::parse("GET", "/api/v1/nodes/n");
    Arc::new(Attributes { user: user.into(), groups: Vec::new(), request })
}

#[test]
fn every_version_is_read_as_v1() {
    let keep = format!("{PRESERVE_ZERO}: ''");
    for (version, shares, annotations, expected) in [
        ("v1", "nominalConcurrencyShares: 7, ", "", 7),
        ("v1", "nominalConcurrencyShares: 0, ", "", 0),
        ("v1", "", "", 30),
        ("v1beta3", "nominalConcurrencyShares: 7, ", "", 7),
        ("v1beta3", "nominalConcurrencyShares: 0, ", "", 30),
        ("v1beta3", "nominalConcurrencyShares: 0, ", keep.as_str(), 0),
        ("v1beta3", "", "", 30),
        ("v1beta2", "assuredConcurrencyShares: 9, ", "", 9),
        ("v1beta1", "assuredConcurrencyShares: 0, ", "", 30),
    ] {
        let object = read(&level(version, shares, annotations)).priority_levels.remove(0);
        let limited = object.spec.limited.as_ref().unwrap();
        assert_eq!(limited.nominal_concurrency_shares, Some(expected), "{version} {shares} {annotations}");
        assert!(object.metadata.annotations.is_empty());
        let written = object.to_json().to_string();
        assert_eq!(read(&written).priority_levels, [object], "reads what it writes");
    }
}

#[test]
fn lists_and_many_documents_are_read() {
    let items = format!("{}---\n{}", level("v1", "", ""), schema("s", "own"));
    assert_eq!(read(&items).flow_schemas.len(), 1);
    let objects: Vec<_> = Configuration::builtin().flow_schemas.iter().map(|s| s.to_json()).collect();
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    assert_eq!(read(&list.to_string()).flow_schemas, Configuration::builtin().flow_schemas);
}

#[test]
fn every_broken_rule_is_named_with_its_object_and_field() {
    let text = level("v1", "nominalConcurrencyShares: -1, lendablePercent: 101, ", "");
    let error =
        Configuration::from_text("test", &format!("{text}---\n{}", schema("Bad_Name", "own"))).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)));
    let message = error.to_string();
    for part in [
        "PriorityLevelConfiguration \"own\": spec.limited.nominalConcurrencyShares: Invalid",
        "PriorityLevelConfiguration \"own\": spec.limited.lendablePercent: Invalid",
        "FlowSchema \"Bad_Name\": metadata.name: Invalid",
    ] {
        assert!(message.contains(part), "{message}");
    }
    for (text, part) in [
        ("kind: [", "test is not YAML or JSON"),
        ("{apiVersion: v1, kind: Pod}", "document 1: apiVersion \"v1\" of kind \"Pod\""),
        (
            &schema("s", "own").replace("matchingPrecedence", "matchingPrecedense"),
            "unknown field `matchingPrecedense`",
        ),
    ] {
        let message = Configuration::from_text("test", text).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn schema_without_its_level_is_left_out_and_reported() {
    let engine = Engine::<NoOne>::new(Settings::default(), 0);
    let configuration = read(&schema("s", "own"));
    let digested = engine.digest(0, &configuration);
    assert!(digested.dangling[0].dangling);
    assert_eq!(&*engine.explain(0, &attributes("ann")).schema, builtin::CATCH_ALL);

    let mut writer = StatusWriter::default();
    let wanted = condition(&digested.dangling[0]);
    assert_eq!((wanted.status.as_str(), wanted.reason.as_str()), ("True", "NotFound"));
    for write in 0..=WRITES_PER_MINUTE {
        let writes = writer.plan(write as u64, &digested.dangling, &configuration.flow_schemas);
        assert_eq!(writes.now.len(), usize::from(write < WRITES_PER_MINUTE));
        assert_eq!(writes.later.len(), usize::from(write == WRITES_PER_MINUTE));
    }
    let later = writer.plan(61_000_000_000, &digested.dangling, &configuration.flow_schemas);
    assert_eq!(later.now["s"], wanted);

    let digested = engine.digest(0, &read(&format!("{}---\n{}", schema("s", "own"), level("v1", "", ""))));
    assert!(!digested.dangling[0].dangling);
    assert_eq!(&*engine.explain(0, &attributes("ann")).schema, "s");
}

#[test]
fn quiescing_level_keeps_its_shares_until_it_is_idle() {
    let engine = Engine::<NoOne>::new(Settings::default().behaviour(Behaviour::PARITY), 0);
    let given = read(&format!("{}---\n{}", schema("s", "own"), level("v1", "", "")));
    engine.digest(0, &given);
    let nominal = |name: &str| {
        engine.levels().iter().find(|level| &*level.name == name).map(|level| level.limits.nominal)
    };
    // 30 shares beside 5 of catch-all.
    assert_eq!((nominal("own"), nominal("catch-all")), (Some(515), Some(86)));
    let Admission::Accepted(ticket) = engine.arrive(0, &attributes("ann"), || NoOne) else {
        panic!("refused");
    };
    assert_eq!(engine.digest(1, &Configuration::default()).quiescing, ["own"]);
    assert_eq!((nominal("own"), nominal("catch-all")), (Some(515), Some(86)));
    engine.digest(2, &given);
    assert!(!engine.levels().iter().any(|level| level.quiescing), "it came back");
    engine.digest(3, &Configuration::default());
    ticket.route.level().finish(4, ticket.id);
    engine.tick(10_000_000_000);
    assert_eq!((nominal("own"), nominal("catch-all")), (None, Some(600)));
}

#[test]
fn a_million_users_keep_memory_bounded() {
    let engine = Engine::<NoOne>::new(Settings::default().seats(1), 0);
    engine.digest(0, &read(&format!("{}---\n{}", schema("s", "own"), level("v1", "", ""))));
    let mut accepted = 0;
    for user in 0..1_000_000u32 {
        let who = attributes(&format!("user-{user}"));
        let admission = engine.arrive_with(u64::from(user), &who, Some(Work::seats(1)), || NoOne);
        accepted += u32::from(matches!(admission, Admission::Accepted(_)));
    }
    let levels = engine.levels();
    let own = levels.iter().find(|level| &*level.name == "own").unwrap();
    // Seats, and 8 queues of 50.
    assert_eq!(accepted, own.totals.executing + own.totals.waiting);
    assert!(accepted <= own.seats + 8 * 50, "{accepted}");
    assert!(own.top.len() <= FLOWS_MAX);
}

#[test]
fn numbers_at_their_limits_saturate() {
    let engine = Engine::<NoOne>::new(Settings::default().seats(u32::MAX), u64::MAX - 2);
    engine.digest(
        u64::MAX - 1,
        &read(&level("v1", "nominalConcurrencyShares: 2147483647, borrowingLimitPercent: 2147483647, ", "")),
    );
    engine.tick(u64::MAX);
    let work = Work { initial_seats: u32::MAX, final_seats: u32::MAX, linger_ns: u64::MAX };
    let admission = engine.arrive_with(u64::MAX, &attributes("ann"), Some(work), || NoOne);
    assert!(matches!(admission, Admission::Accepted(_) | Admission::Refused(_)));
}

#[test]
fn a_level_without_shares_that_may_not_borrow_admits_nobody() {
    for response in
        ["{type: Reject}", "{type: Queue, queuing: {queues: 4, handSize: 1, queueLengthLimit: 5}}"]
    {
        let jail = format!(
            "apiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: PriorityLevelConfiguration\nmetadata: {{name: own}}\n\
             spec: {{type: Limited, limited: {{nominalConcurrencyShares: 0, borrowingLimitPercent: 0, \
             limitResponse: {response}}}}}\n"
        );
        let engine = Engine::<NoOne>::new(Settings::default(), 0);
        engine.digest(0, &read(&format!("{jail}---\n{}", schema("s", "own"))));
        let admission = engine.arrive(0, &attributes("ann"), || NoOne);
        assert!(matches!(admission, Admission::Refused(_)), "{response}");
    }
}

#[test]
fn betas_know_the_fields_of_their_own_version_only() {
    let level = |version: &str, field: &str| {
        let text = format!(
            "apiVersion: flowcontrol.apiserver.k8s.io/{version}\nkind: PriorityLevelConfiguration\nmetadata: {{name: own}}\n\
             spec: {{type: Limited, limited: {{{field}: 7, limitResponse: {{type: Reject}}}}}}\n"
        );
        Configuration::from_text("test", &text)
    };
    for (version, field, other) in [
        ("v1beta1", "assuredConcurrencyShares", "nominalConcurrencyShares"),
        ("v1beta2", "assuredConcurrencyShares", "nominalConcurrencyShares"),
        ("v1beta3", "nominalConcurrencyShares", "assuredConcurrencyShares"),
        ("v1", "nominalConcurrencyShares", "assuredConcurrencyShares"),
    ] {
        assert!(level(version, field).is_ok(), "{version} {field}");
        let error = level(version, other).unwrap_err().to_string();
        assert!(error.contains(&format!("unknown field `{other}`")), "{version}: {error}");
    }
}
