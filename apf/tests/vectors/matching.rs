//! Vectors about the way of a request to its queues: parsing, rules, hashes, hands, watches.

use super::Tally;
use seaway_apf::classify::{self, Classifier};
use seaway_apf::deal::{Dealer, Error};
use seaway_apf::object::FlowSchema;
use seaway_apf::request::{Attributes, RequestInfo};
use seaway_apf::watches::WatchTracker;
use seaway_apf::{builtin, builtin::BUILTIN, flow, flow::Distinguisher, matching};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlowHash {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    vectors: Vec<FlowHashCase>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowHashCase {
    flow_schema: String,
    distinguisher: String,
    hash: String,
    hand_64_6: Vec<u32>,
    hand_128_6: Vec<u32>,
    hand_16_4: Vec<u32>,
}

pub(super) fn flow_hash(file: FlowHash, tally: &mut Tally) {
    for case in file.vectors {
        let hash = flow::hash(&case.flow_schema, &case.distinguisher);
        let hand = |deck, size| Dealer::new(deck, size).unwrap().deal(hash).cards().to_vec();
        let got = (hash.to_string(), hand(64, 6), hand(128, 6), hand(16, 4));
        let expected =
            (case.hash.clone(), case.hand_64_6.clone(), case.hand_128_6.clone(), case.hand_16_4.clone());
        tally.equal(case, got, expected);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shuffle {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    dealer_config: Vec<DealerCase>,
    deals: Vec<DealCase>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DealerCase {
    deck_size: i64,
    hand_size: i64,
    required_entropy_bits: u32,
    ok: bool,
    error_class: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DealCase {
    hash: String,
    deck_size: i64,
    hand_size: i64,
    hand: Vec<u32>,
}

pub(super) fn shuffle(file: Shuffle, tally: &mut Tally) {
    for case in file.dealer_config {
        let error = Dealer::new(case.deck_size, case.hand_size).err().map(|error| match error {
            Error::NotPositive { .. } => "not-positive".to_owned(),
            Error::HandExceedsDeck { .. } => "hand-exceeds-deck".to_owned(),
            Error::DeckTooLarge(_) => "deck-too-large".to_owned(),
            Error::TooMuchEntropy(_) => "too-much-entropy".to_owned(),
        });
        let bits = Dealer::entropy_bits(case.deck_size, case.hand_size);
        let got = (error.is_none(), error, bits);
        let expected = (case.ok, case.error_class.clone(), case.required_entropy_bits);
        tally.equal(case, got, expected);
    }
    for case in file.deals {
        let dealer = Dealer::new(case.deck_size, case.hand_size).unwrap();
        let hand = dealer.deal(case.hash.parse().unwrap()).cards().to_vec();
        tally.equal(case.clone(), hand, case.hand);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultMatching {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    cases: Vec<MatchingCase>,
    effective_order: Vec<Ordered>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    name: String,
    pl: String,
    precedence: i32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct MatchingCase {
    request: Request,
    is_resource_request: bool,
    verb: String,
    path: String,
    api_group: String,
    api_version: String,
    namespace: String,
    resource: String,
    subresource: String,
    name: String,
    flow_schema: String,
    priority_level: String,
    exempt: bool,
    flow_distinguisher: String,
    flow_hash: Option<String>,
    queues: i64,
    hand: Option<Vec<u32>>,
    flow_schema_with_only_mandatory_objects: String,
    all_matching_flow_schemas_in_order: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    uri: String,
    user: String,
    groups: Option<Vec<String>>,
}

pub(super) fn default_matching(file: DefaultMatching, tally: &mut Tally) {
    let all = builtin::all();
    let (mut schemas, mut mandatory) = (all.flow_schemas, BUILTIN.mandatory.flow_schemas.clone());
    classify::sort(&mut schemas);
    classify::sort(&mut mandatory);
    let order = schemas.iter().map(|schema| Ordered {
        name: schema.metadata.name.clone(),
        pl: schema.spec.priority_level_configuration.name.clone(),
        precedence: schema.spec.matching_precedence,
    });
    tally.equal("effective order", order.collect::<Vec<_>>(), file.effective_order);
    for case in file.cases {
        let request = RequestInfo::parse(&case.request.method, &case.request.uri);
        let info = |r: &RequestInfo| {
            [
                &r.verb.to_string(),
                &r.path,
                &r.api_group,
                &r.api_version,
                &r.namespace,
                &r.resource,
                &r.subresource,
                &r.name,
            ]
            .map(Clone::clone)
        };
        let expected = [
            &case.verb,
            &case.path,
            &case.api_group,
            &case.api_version,
            &case.namespace,
            &case.resource,
            &case.subresource,
            &case.name,
        ]
        .map(Clone::clone);
        tally.equal(&case, (request.is_resource, info(&request)), (case.is_resource_request, expected));
        let (user, groups) = (case.request.user.clone(), case.request.groups.clone().unwrap_or_default());
        classification(&case, &Attributes { user, groups, request }, &schemas, &mandatory, tally);
    }
}

fn classification(
    case: &MatchingCase,
    attributes: &Attributes,
    schemas: &[FlowSchema],
    mandatory: &[FlowSchema],
    tally: &mut Tally,
) {
    let compiled = Classifier::new(schemas.iter().map(|schema| &schema.spec));
    let first = |schemas: &[FlowSchema]| {
        let compiled = Classifier::new(schemas.iter().map(|schema| &schema.spec));
        let found = compiled.first(attributes).map(|index| schemas[index].metadata.name.clone());
        found.unwrap_or_else(|| builtin::CATCH_ALL.into())
    };
    let matching =
        compiled.matches(attributes).map(|index| schemas[index].metadata.name.clone()).collect::<Vec<_>>();
    let name = first(schemas);
    let schema = schemas.iter().find(|schema| schema.metadata.name == name).unwrap();
    let level_name = schema.spec.priority_level_configuration.name.clone();
    let all = builtin::all();
    let level = &all.priority_levels.iter().find(|l| l.metadata.name == level_name).unwrap().spec;
    let queuing = level.limited.as_ref().and_then(|limited| limited.limit_response.queuing.as_ref());
    let method = schema.spec.distinguisher_method.as_ref().map(|method| method.kind.as_str());
    let distinguisher = queuing.map_or("", |_| Distinguisher::from_api(method).of(attributes)).to_owned();
    let hash = queuing.map(|_| flow::hash(&name, &distinguisher));
    let hand = queuing.map(|queuing| {
        let dealer = Dealer::new(queuing.queues.into(), queuing.hand_size.into()).unwrap();
        dealer.deal(hash.unwrap_or_default()).cards().to_vec()
    });
    let got = (
        (name, level_name, level.kind == "Exempt", first(mandatory), matching),
        (distinguisher, hash.map(|hash| hash.to_string()), queuing.map_or(0, |q| i64::from(q.queues)), hand),
    );
    let only_mandatory = case.flow_schema_with_only_mandatory_objects.clone();
    let all_matching = case.all_matching_flow_schemas_in_order.clone().unwrap_or_default();
    let expected = (
        (case.flow_schema.clone(), case.priority_level.clone(), case.exempt, only_mandatory, all_matching),
        (case.flow_distinguisher.clone(), case.flow_hash.clone(), case.queues, case.hand.clone()),
    );
    tally.equal(case, got, expected);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleMatching {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    non_resource_urls: Vec<UrlCase>,
    schemas: Vec<SchemaCase>,
    service_account_subjects: Vec<AccountCase>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct UrlCase {
    rule_urls: Vec<String>,
    path: String,
    #[serde(rename = "match")]
    matches: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct AccountCase {
    #[serde(rename = "NS")]
    namespace: String,
    name: String,
    user: String,
    #[serde(rename = "Match")]
    matches: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaCase {
    flow_schema: FlowSchema,
    digests: Option<Vec<DigestCase>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestCase {
    is_resource_request: bool,
    verb: String,
    path: String,
    api_group: String,
    namespace: String,
    resource: String,
    subresource: String,
    user: String,
    groups: Option<Vec<String>>,
    #[serde(rename = "match")]
    matches: bool,
}

pub(super) fn rule_matching(file: RuleMatching, tally: &mut Tally) {
    for case in file.non_resource_urls {
        tally.equal(&case, matching::url(&case.rule_urls, &case.path), case.matches);
    }
    for case in file.service_account_subjects {
        let got = matching::service_account(&case.namespace, &case.name, &case.user);
        tally.equal(&case, got, case.matches);
    }
    for case in file.schemas {
        let spec = &case.flow_schema.spec;
        let compiled = Classifier::new([spec]);
        tally.cases += usize::from(case.digests.is_none());
        for digest in case.digests.clone().unwrap_or_default() {
            let given = digest.clone();
            let request = RequestInfo {
                is_resource: given.is_resource_request,
                verb: given.verb.into(),
                path: given.path,
                api_group: given.api_group,
                namespace: given.namespace,
                resource: given.resource,
                subresource: given.subresource,
                ..RequestInfo::default()
            };
            let attributes =
                Attributes { user: given.user, groups: given.groups.unwrap_or_default(), request };
            let got = (matching::schema(spec, &attributes), compiled.first(&attributes).is_some());
            tally.equal(&digest, got, (digest.matches, digest.matches));
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watches {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    cases: Vec<WatchCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchCase {
    #[serde(rename = "name")]
    _name: Option<String>,
    watches: Vec<String>,
    queries: Vec<WatchQuery>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchQuery {
    count: u64,
    method: String,
    uri: String,
}

pub(super) fn watch_tracker(file: Watches, tally: &mut Tally) {
    for case in file.cases {
        let tracker = WatchTracker::default();
        let guards: Vec<_> =
            case.watches.iter().map(|uri| tracker.register(&RequestInfo::parse("GET", uri))).collect();
        for query in &case.queries {
            let request = RequestInfo::parse(&query.method, &query.uri);
            tally.equal((&case.watches, query), tracker.interested(&request), query.count);
        }
        drop(guards);
        let left: u64 = case
            .queries
            .iter()
            .map(|query| tracker.interested(&RequestInfo::parse(&query.method, &query.uri)))
            .sum();
        tally.equal("watches counted after all ended", left, 0);
    }
}
