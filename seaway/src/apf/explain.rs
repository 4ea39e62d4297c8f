//! `seaway apf explain`: the way of one request, step by step.

use super::{Common, Output};
use seaway_apf::deal::collision_probability;
use seaway_apf::engine::{Engine, Explanation};
use seaway_apf::level::Waiter;
use seaway_apf::request::{Attributes, RequestInfo};
use serde_json::{Value, json};

/// How many heavy flows the chance of sharing all queues is given for.
const HEAVY_FLOWS: u32 = 4;

/// Arguments of `seaway apf explain`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// User who asks.
    #[arg(long, default_value = "system:anonymous")]
    user: String,
    /// Groups of the user; `system:authenticated` or `system:unauthenticated` is added.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Method and URL, such as `GET /api/v1/pods?limit=500`; a URL alone is got.
    #[arg(required = true, num_args = 1..=2)]
    request: Vec<String>,
}

/// Nobody waits here.
pub(super) struct NoOne;

impl Waiter for NoOne {
    fn start(self) {}
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let words: Vec<&str> = args.request.iter().flat_map(|word| word.split_whitespace()).collect();
    let (method, url) = match words[..] {
        [url] => ("GET", url),
        [method, url] => (method, url),
        _ => anyhow::bail!("give a request as METHOD URL, such as: GET /api/v1/pods"),
    };
    let engine = Engine::<NoOne>::new(args.common.settings(), 0);
    let digested = engine.digest(0, &args.common.configuration()?);
    for dangling in digested.dangling.iter().filter(|found| found.dangling) {
        eprintln!(
            "warning: FlowSchema {:?} ignored: its priority level {:?} does not exist",
            dangling.schema, dangling.level
        );
    }
    let attributes =
        attributes(args.user.clone(), args.groups.clone(), RequestInfo::parse(&method.to_uppercase(), url));
    if args.groups.iter().any(|group| group == "system:masters") {
        eprintln!(
            "warning: the group system:masters bypasses all limits; do not accept it from a client's headers or token claims"
        );
    }
    let explanation = engine.explain(0, &attributes);
    match args.output {
        Output::Table => print!("{}", text(&attributes, &explanation)),
        Output::Json => println!("{:#}", as_json(&attributes, &explanation)),
    }
    Ok(())
}

/// Adds the group that every request has.
pub(super) fn attributes(user: String, mut groups: Vec<String>, request: RequestInfo) -> Attributes {
    if user == "system:anonymous" {
        groups.push("system:unauthenticated".into());
    } else {
        groups.push("system:authenticated".into());
    }
    Attributes { user, groups, request }
}

fn text(attributes: &Attributes, e: &Explanation) -> String {
    let request = &attributes.request;
    let what = if request.is_resource {
        let namespace = if request.namespace.is_empty() { "no namespace" } else { &request.namespace };
        format!("{} {} in {namespace}", request.verb, request.group_resource())
    } else {
        format!("{} {}", request.verb, request.path)
    };
    let why = match (e.last_resort, e.matching.len()) {
        (true, _) => "nothing matches; this is the schema of last resort".to_owned(),
        (false, 1) => "the only one that matches".to_owned(),
        (false, _) => format!("first of those that match: {}", e.matching.join(", ")),
    };
    let level = if e.exempt {
        "executes at once, whatever else is going on".to_owned()
    } else {
        let limits = e.level.limits;
        format!("{} seats now, {} nominal, {} to {}", e.level.seats, limits.nominal, limits.min, limits.max)
    };
    let mut text = String::new();
    let mut line = |name: &str, value: &str, why: &str| {
        text.push_str(&format!("{name:<9}{value:<28}  {why}\n"));
    };
    line("request", &what, &format!("by {} in {}", attributes.user, attributes.groups.join(", ")));
    line("schema", &e.schema, &why);
    line("level", &e.level.name, &level);
    if e.hand.is_empty() {
        line("flow", "-", "the level has no queues");
    } else {
        let flow = if e.distinguisher.is_empty() { "(all)" } else { &e.distinguisher };
        line("flow", flow, &format!("hash {:#018x}", e.hash));
        let cards: Vec<String> = e.hand.iter().map(|(card, _)| card.to_string()).collect();
        let (deck, hand) = (i64::try_from(e.deck).unwrap_or(0), i64::try_from(cards.len()).unwrap_or(0));
        let chance = collision_probability(deck, hand, HEAVY_FLOWS);
        let why = format!(
            "of {deck} queues; {HEAVY_FLOWS} heavy flows cover all of them by a chance of {chance:.1e}"
        );
        line("hand", &cards.join(" "), &why);
        let queue = e.queue.map_or_else(|| "-".to_owned(), |queue| queue.to_string());
        line(
            "queue",
            &queue,
            &format!("least waiting work; {} requests wait in the level", e.level.totals.waiting),
        );
    }
    let work = e.work;
    let linger = seaway_apf::dump::duration_text(work.linger_ns);
    let seats = format!("{} then {} for {linger}", work.initial_seats, work.final_seats);
    line("seats", &seats, &format!("at most {} in this level", e.level.max_seats.max(1)));
    text
}

fn as_json(attributes: &Attributes, e: &Explanation) -> Value {
    json!({
        "user": attributes.user,
        "groups": attributes.groups,
        "verb": attributes.request.verb.as_str(),
        "schema": &*e.schema,
        "lastResort": e.last_resort,
        "matching": e.matching.iter().map(|name| &**name).collect::<Vec<_>>(),
        "level": &*e.level.name,
        "exempt": e.exempt,
        "seats": { "now": e.level.seats, "nominal": e.level.limits.nominal,
                   "min": e.level.limits.min, "max": e.level.limits.max },
        "distinguisher": e.distinguisher,
        "hash": e.hash.to_string(),
        "hand": e.hand.iter().map(|(card, _)| card).collect::<Vec<_>>(),
        "queue": e.queue,
        "work": { "initialSeats": e.work.initial_seats, "finalSeats": e.work.final_seats,
                  "lingerNs": e.work.linger_ns },
    })
}
