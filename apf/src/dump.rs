//! The three debug endpoints, as the tables that operators know and as JSON.

mod instant;
mod table;

pub use instant::{duration_text, timestamp};

use crate::engine::Engine;
use crate::flow::Distinguisher;
use crate::level::Waiter;
use crate::queueset::RequestDump;
use crate::request::Attributes;
use serde_json::{Value, json};
use std::sync::Arc;
use table::Table;

/// Where the endpoints are served.
pub const PATH: &str = "/debug/api_priority_and_fairness/";

const LEVELS: [&str; 10] = [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];
const QUEUES: [&str; 9] = [
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];
const REQUESTS: [&str; 18] = [
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
    "UserName",
    "Verb",
    "APIPath",
    "Namespace",
    "Name",
    "APIVersion",
    "Resource",
    "SubResource",
];
const REQUESTS_BRIEF: usize = 10;

/// One of the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// One row per level.
    PriorityLevels,
    /// One row per queue.
    Queues,
    /// One row per request.
    Requests {
        /// Whether to say what each request is for.
        details: bool,
    },
}

impl Dump {
    /// The endpoint for a path and query, if there is one.
    #[must_use]
    pub fn at(path: &str, query: &str) -> Option<Self> {
        match path.strip_prefix(PATH)? {
            "dump_priority_levels" => Some(Self::PriorityLevels),
            "dump_queues" => Some(Self::Queues),
            "dump_requests" => {
                let value = |pair: &str| pair.strip_prefix("includeRequestDetails=").map(str::len);
                Some(Self::Requests { details: query.split('&').filter_map(value).any(|len| len > 0) })
            }
            _ => None,
        }
    }
}

impl<W: Waiter> Engine<W> {
    /// A dump as a table. Times are nanoseconds since 1970.
    #[must_use]
    pub fn dump(&self, dump: Dump) -> String {
        self.rows(dump).text()
    }

    /// A dump as a list of objects.
    #[must_use]
    pub fn dump_json(&self, dump: Dump) -> Value {
        self.rows(dump).json()
    }

    /// The busiest flows of each level.
    #[must_use]
    pub fn top_flows_json(&self) -> Value {
        let level = |view: crate::level::LevelView| {
            let flows: Vec<Value> = view
                .top
                .iter()
                .map(|flow| {
                    json!({ "flowSchema": flow.schema, "distinguisher": flow.distinguisher,
                            "requests": flow.requests, "overcount": flow.overcount })
                })
                .collect();
            (view.name.to_string(), Value::Array(flows))
        };
        Value::Object(self.levels().into_iter().map(level).collect())
    }

    fn rows(&self, dump: Dump) -> Table {
        let mut table = match dump {
            Dump::PriorityLevels => Table::new(&LEVELS),
            Dump::Queues => Table::new(&QUEUES),
            Dump::Requests { details: false } => Table::new(&REQUESTS[..REQUESTS_BRIEF]),
            Dump::Requests { details: true } => Table::new(&REQUESTS),
        };
        self.each_level(|level| {
            let (state, name) = (level.state(), level.name());
            let queues = state.queues.queues();
            match dump {
                Dump::PriorityLevels => {
                    let totals = state.queues.totals();
                    table.row([
                        name.to_string(),
                        queues.iter().filter(|queue| queue.pending > 0).count().to_string(),
                        state.queues.is_idle().to_string(),
                        state.quiescing.to_string(),
                        totals.waiting.to_string(),
                        totals.executing.to_string(),
                        totals.dispatched.to_string(),
                        totals.rejected.to_string(),
                        "0".to_owned(),
                        totals.cancelled.to_string(),
                    ]);
                }
                Dump::Queues => {
                    for queue in queues {
                        table.row([
                            name.to_string(),
                            queue.index.to_string(),
                            queue.pending.to_string(),
                            queue.executing.to_string(),
                            queue.seats_in_use.to_string(),
                            queue.next_dispatch_r.to_string(),
                            queue.initial_seats.to_string(),
                            queue.max_seats.to_string(),
                            queue.total_work.to_string(),
                        ]);
                    }
                }
                Dump::Requests { details } => {
                    for request in state.queues.requests() {
                        let cells = if details { REQUESTS.len() } else { REQUESTS_BRIEF };
                        table.row(request_row(name, &request).into_iter().take(cells));
                    }
                }
            }
        });
        table
    }
}

fn request_row(level: &str, dump: &RequestDump<'_, Arc<Attributes>>) -> [String; 18] {
    let (attributes, request) = (dump.detail, &dump.detail.request);
    let number = |value: Option<u32>| value.map_or_else(|| "-1".to_owned(), |value| value.to_string());
    let distinguisher: Distinguisher = dump.distinguisher;
    let version = match (request.api_group.as_str(), request.api_version.as_str()) {
        ("", version) => version.to_owned(),
        (group, version) => format!("{group}/{version}"),
    };
    [
        level.to_owned(),
        dump.schema.to_string(),
        number(dump.queue),
        number(dump.position),
        distinguisher.of(attributes).to_owned(),
        timestamp(Some(dump.arrived_ns)),
        dump.work.initial_seats.to_string(),
        dump.work.final_seats.to_string(),
        duration_text(dump.work.linger_ns),
        timestamp(dump.started_ns),
        attributes.user.clone(),
        request.verb.to_string(),
        request.path.clone(),
        request.namespace.clone(),
        request.name.clone(),
        version,
        request.resource.clone(),
        request.subresource.clone(),
    ]
}
