//! Facts from an API server, over real HTTP, with everything that can go wrong on the way: one test for
//! each, which is why the file is long.

#![forbid(unsafe_code)]

mod api_source {
    pub(crate) mod either;
    pub(crate) mod setting;
}

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use api_source::either::Either;
use api_source::setting::{Facts, Setting, quick};
use seaway_cluster::Kind;
use seaway_cluster::api_server::Options;
use seaway_cluster::source::Wants;
use seaway_harness::{ApiBehaviour, ApiFault};
use seaway_tests::api_objects::{name, node, service, slice};
use serde_json::{Value, json};

const KINDS: [&str; 5] = ["services", "endpointslices", "nodes", "pods", "servicecidrs"];

/// Ways to list: streamed, in pages of 3, and in pages from a server that knows no streams.
fn ways() -> [(Options, ApiBehaviour); 3] {
    let pages = ApiBehaviour { page_max: 3, ..ApiBehaviour::default() };
    [
        (quick(), ApiBehaviour::default()),
        (Options { streaming: false, ..quick() }, pages.clone()),
        (quick(), ApiBehaviour { streaming: false, ..pages }),
    ]
}

async fn check_lists(server: &Either, options: Options) {
    server.put_all((0..10).map(service));
    server.put_all((0..10).map(|number| slice(number, 2)));
    let mut facts = server.follow(options).await;
    facts.until(10, 20).await;
    server.put_all([slice(3, 5)]);
    server.delete("Service", "n/svc-00009");
    facts.until(9, 23).await;
    assert_eq!(facts.warnings(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_followed_by_changes_however_they_were_sent() {
    for (options, behaviour) in ways() {
        check_lists(&Either::stub(behaviour), options).await;
    }
    let Some(real) = Either::real() else { return };
    for streaming in [true, false] {
        check_lists(&real, Options { streaming, page: 3, ..quick() }).await;
    }
}

async fn check_restart(server: &mut Either) {
    server.put_all((0..5).map(service));
    let mut facts = server.follow(quick()).await;
    facts.until(5, 0).await;
    let before = facts.snapshot();
    server.set_down(true);
    facts.until_warning_count(KINDS.len()).await;
    assert!(std::sync::Arc::ptr_eq(&before, &facts.snapshot()));
    server.set_down(false);
    server.delete("Service", "n/svc-00001");
    server.put_all([service(5), service(6)]);
    facts.until(6, 0).await;
    facts.until_warnings("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_restarted_is_followed_on() {
    check_restart(&mut Either::stub(ApiBehaviour::default())).await;
    if let Some(mut real) = Either::real() {
        check_restart(&mut real).await;
    }
}

#[tokio::test]
async fn nothing_is_told_before_every_kind_was_listed() {
    let setting = Setting::new(ApiBehaviour::default());
    setting.server.put(service(0));
    setting.server.fail_next("pods", ApiFault::Silence);
    let options = Options { silence: Duration::from_millis(300), streaming: false, ..quick() };
    let begun = Instant::now();
    let mut facts = setting.follow(options).await;
    assert!(begun.elapsed() >= options.silence, "the silent list was not waited for");
    facts.until(1, 0).await;
}

async fn check_selection(server: &Either) {
    let mut headless = service(1);
    headless["spec"]["clusterIP"] = "None".into();
    headless["spec"]["clusterIPs"] = json!(["None"]);
    let mut foreign = service(2);
    foreign["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": ""});
    let mut headless_slice = slice(1, 4);
    headless_slice["metadata"]["labels"]["service.kubernetes.io/headless"] = "".into();
    server.put_all([service(0), headless, foreign, slice(0, 1), headless_slice]);
    server.put_all([node("node-1", "a"), node("node-2", "b")]);
    let mut facts = server.follow(quick()).await;
    facts.until(1, 1).await;
    let snapshot = facts.snapshot();
    assert!(snapshot.nodes.keys().map(AsRef::as_ref).eq(["node-1"]));
    let own = snapshot.services.keys().filter(|key| &*key.namespace == "n");
    assert!(own.map(|key| key.name.to_string()).eq([name(0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_proxy_serves_is_sent() {
    check_selection(&Either::stub(ApiBehaviour::default())).await;
    if let Some(real) = Either::real() {
        check_selection(&real).await;
    }
}

#[tokio::test]
async fn a_cluster_without_service_cidrs_will_do() {
    for status in [404, 403] {
        let setting = Setting::new(ApiBehaviour::default());
        setting.server.put(service(0));
        setting.server.fail_next("servicecidrs", ApiFault::Status(status));
        let mut facts = setting.follow(quick()).await;
        facts.until(1, 0).await;
        setting.server.put(service(1));
        facts.until(2, 0).await;
        assert_eq!((facts.snapshot().service_cidrs.len(), facts.warnings()), (0, String::new()));
    }
}

#[tokio::test]
async fn ranges_of_services_come_and_go() {
    let setting = Setting::new(ApiBehaviour::default());
    let range = |name: &str, cidrs: &[&str]| json!({"kind": "ServiceCIDR", "metadata": {"name": name}, "spec": {"cidrs": cidrs}});
    setting.server.put_all([service(0), range("kubernetes", &["10.96.0.0/12", "fd96::/108"])]);
    let mut facts = setting.follow(quick()).await;
    facts.until(1, 0).await;
    let ranges = |facts: &Facts| -> Vec<String> {
        let all = facts.snapshot();
        all.service_cidrs.values().flat_map(|range| &range.ranges).map(ToString::to_string).collect()
    };
    assert_eq!(ranges(&facts), ["10.96.0.0/12", "fd96::/108"]);
    setting.server.put_all([range("more", &["172.30.0.9/16", "nonsense"]), service(1)]);
    facts.until(2, 0).await;
    facts.until_warnings("ServiceCIDR more: spec.cidrs[1]: \"nonsense\" is not an address range").await;
    assert_eq!(ranges(&facts), ["10.96.0.0/12", "fd96::/108", "172.30.0.0/16"]);
    setting.server.delete("ServiceCIDR", "more");
    facts.until_warnings("").await;
    assert_eq!(ranges(&facts).len(), 2);
}

/// A fault in the way of one change: it arrives all the same, and without a warning that stays.
async fn check_fault(kind: &str, fault: ApiFault) {
    for (options, behaviour) in ways() {
        let setting = Setting::new(behaviour);
        setting.server.put_all((0..5).map(service));
        setting.server.put_all((0..5).map(|number| slice(number, 2)));
        let mut facts = setting.follow(options).await;
        facts.until(5, 10).await;
        setting.server.fail_next(kind, fault);
        setting.server.put(slice(4, 7));
        setting.server.delete("Service", "n/svc-00000");
        facts.until(4, 15).await;
        facts.until_warnings("").await;
        setting.server.put(service(6));
        facts.until(5, 15).await;
    }
}

#[tokio::test]
async fn a_line_that_is_cut_is_asked_for_again() {
    check_fault("endpointslices", ApiFault::Truncated).await;
}

#[tokio::test]
async fn a_line_that_is_no_json_costs_nothing_but_the_connection() {
    check_fault("endpointslices", ApiFault::Garbage).await;
}

#[tokio::test]
async fn a_position_that_is_gone_leads_to_a_new_list() {
    check_fault("services", ApiFault::Status(410)).await;
    check_fault("endpointslices", ApiFault::Event(410)).await;
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again() {
    check_fault("services", ApiFault::Status(503)).await;
    check_fault("services", ApiFault::Event(500)).await;
    check_fault("endpointslices", ApiFault::Status(429)).await;
}

#[tokio::test]
async fn a_silent_connection_is_given_up() {
    check_fault("endpointslices", ApiFault::Silence).await;
}

#[tokio::test]
async fn a_compacted_server_sends_everything_again_and_what_is_gone_goes() {
    for (options, behaviour) in ways() {
        let setting = Setting::new(behaviour);
        setting.server.put_all((0..8).map(service));
        let mut facts = setting.follow(options).await;
        facts.until(8, 0).await;
        setting.server.set_down(true);
        setting.server.delete("Service", "n/svc-00003");
        setting.server.put(service(8));
        setting.server.put(service(9));
        setting.server.compact();
        setting.server.set_down(false);
        facts.until(9, 0).await;
        assert!(!facts.snapshot().services.keys().any(|key| *key.name == *name(3)));
    }
}

#[tokio::test]
async fn a_list_that_breaks_off_begins_again() {
    for (options, behaviour) in ways() {
        let setting = Setting::new(behaviour);
        setting.server.put_all((0..10).map(service));
        setting.server.fail_next("services", ApiFault::Truncated);
        setting.server.fail_next("services", ApiFault::Status(500));
        let mut facts = setting.follow(options).await;
        facts.until(10, 0).await;
        facts.until_warnings("").await;
    }
}

#[tokio::test]
async fn resource_versions_may_jump() {
    let setting = Setting::new(ApiBehaviour::default());
    setting.server.put(service(0));
    let mut facts = setting.follow(quick()).await;
    facts.until(1, 0).await;
    for number in 1..5 {
        setting.server.jump(u64::from(number) << 40);
        setting.server.put(service(number));
        setting.server.cut();
        facts.until(number as usize + 1, 0).await;
    }
}

#[tokio::test]
async fn bookmarks_carry_a_quiet_watch_past_a_compaction() {
    let behaviour = ApiBehaviour { bookmark_every: Duration::from_millis(20), ..ApiBehaviour::default() };
    let setting = Setting::new(behaviour);
    setting.server.put(service(0));
    let mut facts = setting.follow(quick()).await;
    facts.until(1, 0).await;
    // Nodes and pods stay as they are while the version of everything else runs on.
    for number in 1..20 {
        setting.server.put(service(number));
    }
    facts.until(20, 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(setting.server.take_requests());
    setting.server.cut();
    setting.server.put(service(20));
    facts.until(21, 0).await;
    setting.settled(4).await;
    let positions: Vec<String> = setting.server.take_requests();
    assert!(positions.iter().all(|request| !request.contains("sendInitialEvents")), "{positions:#?}");
    let old = positions.iter().filter(|request| request.ends_with("resourceVersion=1"));
    assert_eq!(old.count(), 0, "{positions:#?}");
}

#[tokio::test]
async fn an_outage_changes_nothing_and_is_told_once() {
    let setting = Setting::new(ApiBehaviour::default());
    setting.server.put_all((0..5).map(service));
    let mut facts = setting.follow(quick()).await;
    facts.until(5, 0).await;
    let before = facts.snapshot();
    setting.server.set_down(true);
    facts.until_warnings("cannot follow").await;
    let told = facts.until_warning_count(KINDS.len()).await;
    // Many attempts later it is the same facts with the same words.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(facts.warnings(), told);
    assert!(std::sync::Arc::ptr_eq(&before, &facts.snapshot()));
    setting.server.put(service(5));
    setting.server.set_down(false);
    facts.until(6, 0).await;
    facts.until_warnings("").await;
}

#[tokio::test]
async fn an_object_that_cannot_be_read_stays_as_it_was_and_is_named() {
    for (options, behaviour) in ways() {
        let setting = Setting::new(behaviour);
        setting.server.put_all((0..5).map(service));
        let mut facts = setting.follow(options).await;
        facts.until(5, 0).await;
        let mut wrong = service(2);
        wrong["spec"]["ports"][0]["port"] = "eighty".into();
        setting.server.put_all([wrong, service(5)]);
        facts.until(6, 0).await;
        facts.until_warnings("Service n/svc-00002: spec.ports[0].port: cannot be read").await;
        assert!(facts.warnings().contains("its last good form"), "{}", facts.warnings());
        // One that is wrong from the start holds up no other.
        let mut wrong = service(7);
        wrong["spec"]["ports"] = 3.into();
        setting.server.put(wrong);
        setting.server.compact();
        setting.server.cut();
        facts.until_warnings("Service n/svc-00007: spec.ports: cannot be read").await;
        setting.server.delete("Service", "n/svc-00007");
        setting.server.put(service(2));
        facts.until_warnings("").await;
        facts.until(6, 0).await;
    }
}

#[tokio::test]
async fn a_token_that_expired_is_read_again() {
    let token = |text: &str| ApiBehaviour { token: Some(text.into()), ..ApiBehaviour::default() };
    let setting = Setting::new(token("first"));
    let file = setting.folder.path().join("token");
    fs::write(&file, "first").unwrap();
    setting.server.write_kubeconfig(&setting.kubeconfig, Some(&file));
    setting.server.put(service(0));
    let mut facts = setting.follow(quick()).await;
    facts.until(1, 0).await;
    setting.server.behave(|behaviour| behaviour.token = Some("second".into()));
    setting.server.cut();
    facts.until_warnings("401").await;
    fs::write(&file, "second").unwrap();
    setting.server.put(service(1));
    facts.until(2, 0).await;
    facts.until_warnings("").await;
}

/// A watch that lives on and tells nothing of a change: the change comes all the same, the watch is
/// counted as lost, and the next change comes by the one in its place.
async fn check_lost(wants: &Wants, fault: ApiFault) {
    let every = Duration::from_millis(20);
    let setting = Setting::new(ApiBehaviour { bookmark_every: every, ..ApiBehaviour::default() });
    setting.server.put_all((0..5).map(service));
    let mut facts = setting.follow_for(wants, Options { check: (10 * every, 10 * every), ..quick() }).await;
    facts.until(5, 0).await;
    assert_eq!(facts.lost(Kind::Service), 0);
    setting.server.set_down(true);
    setting.server.put(service(5));
    setting.server.fail_next("services", fault);
    setting.server.set_down(false);
    facts.until(6, 0).await;
    assert_eq!(facts.lost(Kind::Service), 1);
    setting.server.put(service(6));
    facts.until(7, 0).await;
    // All other kinds had nothing to tell, which is not the same as not telling.
    for kind in [Kind::EndpointSlice, Kind::Pod, Kind::Namespace] {
        assert_eq!(facts.lost(kind), 0, "{kind}");
    }
    assert_eq!(facts.updates.borrow().freshness.stale(Instant::now()), None);
}

#[tokio::test]
async fn a_watch_that_stopped_telling_is_opened_again() {
    check_lost(&Wants::proxy("node-1"), ApiFault::Deaf).await;
    check_lost(&Wants::names(true, false), ApiFault::Deaf).await;
}

#[tokio::test]
async fn changes_that_no_watch_will_bring_are_found_by_their_number() {
    check_lost(&Wants::names(true, false), ApiFault::Lossy).await;
}

#[tokio::test]
async fn a_thousand_changes_in_a_second_all_arrive() {
    let setting = Setting::new(ApiBehaviour::default());
    setting.server.put_all((0..100).map(service));
    setting.server.put_all((0..100).map(|number| slice(number, 1)));
    let mut facts = setting.follow(quick()).await;
    facts.until(100, 100).await;
    for change in 0..1000 {
        setting.server.put(slice(change % 100, 2 + change / 100));
        if change % 100 == 99 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    facts.until(100, 1100).await;
    let waiting = facts.updates.borrow().arrivals.take();
    assert_eq!((waiting.services, waiting.slices), (100, 100 + 1000));
}

#[tokio::test]
async fn ten_thousand_services_are_there_at_the_start() {
    for (options, behaviour) in ways().into_iter().take(2) {
        let setting = Setting::new(ApiBehaviour { page_max: 500, ..behaviour });
        setting.server.put_all((0..10_000).map(service));
        setting.server.put_all((0..10_000).map(|number| slice(number, 3)));
        let mut facts = setting.follow(options).await;
        facts.until(10_000, 30_000).await;
    }
}

/// Group and resource of a request's path: `/api/v1/pods`, `/apis/GROUP/VERSION/RESOURCE`.
fn resource(request: &str) -> (String, String) {
    let path = request.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts[..] {
        ["api", _, resource] => (String::new(), resource.to_owned()),
        ["apis", group, _, resource] => (group.to_owned(), resource.to_owned()),
        _ => panic!("{request} asks for no list"),
    }
}

#[tokio::test]
async fn rights_that_are_deployed_are_for_what_is_asked_and_no_more() {
    let setting = Setting::new(ApiBehaviour::default());
    setting.server.put(service(0));
    let names = Wants { imports: true, ..Wants::names(true, false) };
    let mut facts = setting.follow_for(&Wants::proxy("node-1").with(names), quick()).await;
    facts.until(1, 0).await;
    let asked: BTreeSet<_> = setting.server.take_requests().iter().map(|path| resource(path)).collect();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kustomize/rbac.yaml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let documents = manifest.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    let role = documents.into_iter().find(|document| document["kind"] == "ClusterRole").unwrap();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut allowed = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in texts(&rule["apiGroups"]) {
            allowed.extend(texts(&rule["resources"]).into_iter().map(|resource| (group.clone(), resource)));
        }
    }
    assert_eq!(allowed, asked);
}

#[tokio::test]
async fn what_other_clusters_export_is_followed_where_it_is_wanted() {
    let import = json!({
        "kind": "ServiceImport", "metadata": {"namespace": "n", "name": "web"},
        "spec": {"type": "ClusterSetIP", "ips": ["10.42.0.1"]}
    });
    let mut imported = slice(7, 3);
    imported["metadata"]["labels"] = json!({
        "multicluster.kubernetes.io/service-name": "web", "multicluster.kubernetes.io/source-cluster": "east"
    });
    for status in [None, Some(404)] {
        let setting = Setting::new(ApiBehaviour::default());
        setting.server.put_all([service(0), slice(0, 1), import.clone(), imported.clone()]);
        if let Some(status) = status {
            setting.server.fail_next("serviceimports", ApiFault::Status(status));
        }
        let wants = Wants { imports: true, ..Wants::names(false, false) };
        let mut facts = setting.follow_for(&wants, quick()).await;
        facts.until(1, 1).await;
        let found = facts.snapshot();
        assert_eq!((found.imports.len(), found.imported.len()), (usize::from(status.is_none()), 1));
        imported["metadata"]["labels"] = json!({"kubernetes.io/service-name": name(0)});
        setting.server.put(imported.clone());
        facts.until(1, 4).await;
        assert!(facts.snapshot().imported.is_empty());
        imported["metadata"]["labels"] = json!({
            "multicluster.kubernetes.io/service-name": "web", "multicluster.kubernetes.io/source-cluster": "east"
        });
        setting.server.put(imported.clone());
        facts.until(1, 1).await;
        setting.server.delete("EndpointSlice", "n/svc-00007-abcde");
        facts.until_true(|update| update.snapshot.imported.is_empty()).await;
    }
}
