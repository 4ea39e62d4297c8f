//! Vectors about plain numbers: constants, probabilities, estimates.

use super::Tally;
use seaway_apf::deal::{self, Dealer};
use seaway_apf::estimate::{self, Gates, Known, ListShape};
use seaway_apf::objects::{self, ObjectStats};
use seaway_apf::queueset::Reason;
use seaway_apf::request::RequestInfo;
use seaway_apf::{allocate, borrow, dangling, defaults, demand, headers, limits, retry};
use seaway_apf::{seats, upkeep, validate, wait};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Collision {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    rows: Vec<CollisionRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CollisionRow {
    queues: i64,
    hand_size: i64,
    p_1: f64,
    p_4: f64,
    p_16: f64,
}

pub(super) fn collision(file: Collision, tally: &mut Tally) {
    for row in file.rows {
        for (heavy, expected) in [(1, row.p_1), (4, row.p_4), (16, row.p_16)] {
            let got = deal::collision_probability(row.queues, row.hand_size, heavy);
            let off = ((got - expected) / expected).abs();
            tally.equal((row.queues, row.hand_size, heavy, got, expected), off <= 1e-9, true);
        }
    }
}

pub(super) fn constants(file: Map<String, Value>, tally: &mut Tally) {
    for (name, expected) in file {
        if name != "format" && name != "note" {
            tally.equal(&name, constant(&name), Some(expected));
        }
    }
}

fn constant(name: &str) -> Option<Value> {
    const MS: u64 = 1_000_000;
    const S: u64 = 1_000_000_000;
    Some(match name {
        "g_ms" => json!(seats::GUESS_NS / MS),
        "seat_second_scale" => json!(seats::SCALE),
        "max_hash_bits" => json!(Dealer::ENTROPY_BITS_MAX),
        "max_deck" => json!(Dealer::DECK_MAX),
        "max_queues_validation" => json!(validate::QUEUES_MAX),
        "max_hand" => json!(deal::HAND_MAX),
        "objects_per_seat" => json!(estimate::OBJECTS_PER_SEAT),
        "bytes_per_seat" => json!(estimate::BYTES_PER_SEAT),
        "cache_memory_cap_bytes" => json!(estimate::CACHE_BYTES_MAX),
        "max_object_bytes" => json!(estimate::OBJECT_BYTES_MAX),
        "stale_object_count" => json!(estimate::STALE_OBJECTS),
        "list_seat_cap" => json!(estimate::LIST_SEATS_MAX),
        "list_seat_cap_count_based" => json!(estimate::LIST_SEATS_MAX_BY_COUNT),
        "mutating_seat_cap" => json!(estimate::MUTATING_SEATS_MAX),
        "min_seats" => json!(estimate::SEATS_MIN),
        "watches_per_seat" => json!(estimate::WATCHES_PER_SEAT),
        "event_additional_ms" => json!(estimate::EVENT_NS / MS),
        "object_count_stale_after_s" => json!(objects::STALE_AFTER_NS / S),
        "object_count_prune_s" => json!(objects::PRUNE_AFTER_NS / S),
        "default_precedence" => json!(defaults::PRECEDENCE),
        "default_queues" => json!(defaults::QUEUES),
        "default_hand" => json!(defaults::HAND_SIZE),
        "default_queue_length" => json!(defaults::QUEUE_LENGTH_LIMIT),
        "default_shares" => json!(defaults::SHARES),
        "default_lendable" => json!(defaults::LENDABLE_PERCENT),
        "bootstrap_reconcile_s" => json!(upkeep::RECONCILE_NS / S),
        "bootstrap_initial_retry_s" => json!(upkeep::INITIAL_RETRY_NS / S),
        "bootstrap_initial_give_up_s" => json!(upkeep::INITIAL_GIVE_UP_NS / S),
        "progress_wind_back" => json!("floor((2^64-1)/2) units once R >= 1.5x that"),
        "borrowing_period_s" => json!(borrow::PERIOD_NS / S),
        "smoothing_a" => json!(demand::SMOOTHING),
        "min_target" => json!(allocate::TARGET_MIN),
        "alloc_epsilon" => json!(allocate::EPSILON),
        "max_seats_percent_of_nominal" => json!(limits::MAX_SEATS_PART),
        "wait_limit_default" => {
            let quarter = wait::DEFAULT_NS / S;
            json!(format!("request timeout / {} (60 s -> {quarter} s)", wait::DEADLINE_PARTS))
        }
        "wait_limit_hard_cap_s" => json!(wait::MAX_NS / S),
        "wait_limit_fraction_of_deadline" => json!(1.0 / wait::DEADLINE_PARTS as f64),
        "retry_after_initial_s" => json!(retry::INITIAL_S),
        "retry_after_max_s" => json!(retry::MAX_S),
        "default_max_requests_inflight" => json!(limits::SEATS_READING),
        "default_max_mutating_inflight" => json!(limits::SEATS_MUTATING),
        "fs_status_updates_per_minute" => json!(dangling::WRITES_PER_MINUTE),
        "fs_status_retry_delay_s" => json!(dangling::RETRY_S),
        "config_requeue_backoff" => {
            let [first, last] = dangling::BACKOFF_MS;
            json!([format!("{first} ms"), format!("{} h", last / 3_600_000)])
        }
        "headers" => json!({
            "flow_schema": headers::FLOW_SCHEMA_UID,
            "priority_level": headers::PRIORITY_LEVEL_UID,
        }),
        "reject_reasons" => json!(Reason::ALL.map(Reason::as_str)),
        "reject_status" => json!(headers::REFUSED_STATUS),
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListSeats {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    cases: Vec<ListSeatsCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListSeatsCase {
    name: String,
    #[serde(rename = "total_bytes")]
    _total_bytes: u64,
    objects: u64,
    avg_bytes: u64,
    limit: i64,
    has_selector: bool,
    from_cache: bool,
    single: bool,
    seats_by_count: u64,
    seats_by_size: u64,
}

pub(super) fn list_seats(file: ListSeats, tally: &mut Tally) {
    for case in file.cases {
        let shape = ListShape {
            stats: ObjectStats { count: case.objects, mean_bytes: case.avg_bytes },
            limit: case.limit,
            has_selector: case.has_selector,
            from_cache: case.from_cache,
            single: case.single,
        };
        let got = (estimate::seats_by_count(shape), estimate::seats_by_size(shape));
        tally.equal(case.name, got, (case.seats_by_count, case.seats_by_size));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Width {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    cases: Vec<WidthCase>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WidthCase {
    method: String,
    uri: String,
    object_count: u64,
    avg_object_bytes: u64,
    interested_watches: u64,
    pl_max_seats: u32,
    size_based: bool,
    watch_list: bool,
    stats_error: Option<String>,
    initial_seats: u32,
    final_seats: u32,
    additional_latency_ns: u64,
    total_work_ss_1e8: String,
}

pub(super) fn width(file: Width, tally: &mut Tally) {
    for case in file.cases {
        let known = match case.stats_error.as_deref() {
            None => Known::Fresh(ObjectStats { count: case.object_count, mean_bytes: case.avg_object_bytes }),
            Some("not-found") => Known::NotFound,
            Some("stale" | "other") => Known::Stale,
            Some(other) => panic!("statistics error {other:?} is not known"),
        };
        let gates = Gates { size_based: case.size_based, watch_list: case.watch_list, ..Gates::default() };
        let request = RequestInfo::parse(&case.method, &case.uri);
        let work = estimate::work(&request, || known, || case.interested_watches, case.pl_max_seats, gates);
        let got = (work.initial_seats, work.final_seats, work.linger_ns, work.total().0.to_string());
        let expected = (
            case.initial_seats,
            case.final_seats,
            case.additional_latency_ns,
            case.total_work_ss_1e8.clone(),
        );
        tally.equal(case, got, expected);
    }
}
