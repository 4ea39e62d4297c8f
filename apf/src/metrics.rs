//! The metric families: names, types, labels, buckets, and their values as text.

pub mod histogram;
mod text;

pub use histogram::{Histogram, TimedHistogram};
pub use text::Page;

/// Prefix of every family.
pub const NAMESPACE: &str = "apiserver_flowcontrol";

/// Upper bounds of [`Family`] `request_wait_duration_seconds` and `request_execution_seconds`.
pub const SECONDS: &[f64] = &[0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
/// Upper bounds of `request_queue_length_after_enqueue`.
pub const QUEUE_LENGTHS: &[f64] = &[0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
/// Upper bounds of `work_estimated_seats`.
pub const SEATS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];
/// Upper bounds of `watch_count_samples`.
pub const WATCHES: &[f64] = &[0.0, 1.0, 10.0, 100.0, 1000.0, 10000.0];
/// Upper bounds of `demand_seats`.
pub const DEMAND: &[f64] = &[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0];
/// Upper bounds of `priority_level_request_utilization`.
pub const REQUEST_UTILIZATION: &[f64] = &[0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0];
/// Upper bounds of `priority_level_seat_utilization`.
pub const SEAT_UTILIZATION: &[f64] = &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];
/// Upper bounds of `read_vs_write_current_requests`.
pub const READ_VS_WRITE: &[f64] =
    &[0.0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];

/// How a family's values behave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by upper bound.
    Histogram(&'static [f64]),
}

/// One metric family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Name without the namespace.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// Label names in alphabetic order.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

const PL: &[&str] = &["priority_level"];
const FS_PL: &[&str] = &["flow_schema", "priority_level"];
const PHASE_PL: &[&str] = &["phase", "priority_level"];
const BOUND_PL: &[&str] = &["bound", "priority_level"];

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, labels, help }
}

const fn histogram(
    name: &'static str,
    bounds: &'static [f64],
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind: Kind::Histogram(bounds), labels, help }
}

/// All families, by name.
pub const FAMILIES: &[Family] = &[
    gauge("current_executing_requests", FS_PL, "Requests executing"),
    gauge("current_executing_seats", FS_PL, "Seats taken, by lingering requests too"),
    gauge("current_inqueue_requests", FS_PL, "Requests waiting"),
    gauge("current_inqueue_seats", FS_PL, "Seats that waiting requests will take"),
    gauge("current_limit_seats", PL, "Concurrency limit in force"),
    gauge("current_r", PL, "Progress meter"),
    histogram("demand_seats", DEMAND, PL, "Seats taken and waited for, over the limit, per nanosecond"),
    gauge("demand_seats_average", PL, "Mean demand of the last period"),
    gauge("demand_seats_high_watermark", PL, "Greatest demand of the last period"),
    gauge("demand_seats_smoothed", PL, "Smoothed envelope of demand"),
    gauge("demand_seats_stdev", PL, "Standard deviation of demand in the last period"),
    gauge("dispatch_r", PL, "Progress meter at the last dispatch"),
    counter("dispatched_requests_total", FS_PL, "Requests that started to execute"),
    counter("epoch_advance_total", &["priority_level", "success"], "Windings back of the progress meter"),
    gauge("latest_s", PL, "Virtual time of the queue last dispatched from"),
    gauge("lower_limit_seats", PL, "Least seats of the level"),
    gauge("next_discounted_s_bounds", BOUND_PL, "Bounds of queues' virtual times less their seats' guess"),
    gauge("next_s_bounds", BOUND_PL, "Bounds of the virtual times of queues with waiters"),
    gauge("nominal_limit_seats", PL, "Nominal seats of the level"),
    histogram("priority_level_request_utilization", REQUEST_UTILIZATION, PHASE_PL, "Requests over capacity"),
    histogram("priority_level_seat_utilization", SEAT_UTILIZATION, PHASE_PL, "Seats taken over the limit"),
    histogram(
        "read_vs_write_current_requests",
        READ_VS_WRITE,
        &["phase", "request_kind"],
        "Requests over capacity, reading and writing",
    ),
    counter("rejected_requests_total", &["flow_schema", "priority_level", "reason"], "Requests refused"),
    counter("request_dispatch_no_accommodation_total", FS_PL, "Times the next request did not fit"),
    histogram(
        "request_execution_seconds",
        SECONDS,
        &["flow_schema", "priority_level", "type"],
        "Time of execution",
    ),
    histogram("request_queue_length_after_enqueue", QUEUE_LENGTHS, FS_PL, "Queue length including itself"),
    histogram(
        "request_wait_duration_seconds",
        SECONDS,
        &["execute", "flow_schema", "priority_level"],
        "Time in queue",
    ),
    gauge("seat_fair_frac", &[], "Proportion of targets that the allocator could give"),
    gauge("target_seats", PL, "Seats the allocator aimed at"),
    gauge("upper_limit_seats", PL, "Most seats of the level"),
    histogram("watch_count_samples", WATCHES, FS_PL, "Watches that a change notifies"),
    histogram("work_estimated_seats", SEATS, FS_PL, "Seats of requests"),
];
