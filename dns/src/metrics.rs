//! Metrics under the names that dashboards for CoreDNS know.
//!
//! Queries are counted in plain atomics, one stripe for each thread that answers, and become
//! labelled metrics only when somebody reads them.

mod programming;
mod proxy;
mod reader;
mod upkeep;

pub use programming::Programming;
pub use proxy::ProxyTally;
pub(crate) use proxy::Way;
pub use upkeep::Upkeep;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use seaway_cluster::Kind;
use seaway_cluster::freshness::Followed;
use seaway_cluster::requests::Asked;

use crate::cache::CacheTally;
use crate::engine::{Reply, Source};
use crate::wire::kind;
use crate::wire::writer::Transport;

/// The types that are told apart, as CoreDNS does; all others are `other`.
const KINDS: [&str; 18] = [
    "A", "AAAA", "CNAME", "DNSKEY", "DS", "MX", "NSEC", "NSEC3", "NS", "PTR", "RRSIG", "SOA", "SRV", "TXT",
    "HTTPS", "SVCB", "ANY", "other",
];
const RCODES: [&str; 7] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other"];
const PLUGINS: [&str; 9] =
    ["", "kubernetes", "cache", "forward", "k8s_external", "template", "hosts", "file", "whoami"];
const WAYS: [(&str, &str); 4] = [("udp", "1"), ("udp", "2"), ("tcp", "1"), ("tcp", "2")];
/// Upper bounds of durations: 0.25 ms, doubling.
const DURATIONS: usize = 16;
const FIRST_DURATION_US: u64 = 250;
const SIZES: [usize; 14] =
    [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000];
const STRIPES: usize = 16;

/// Counts of one server block.
#[derive(Debug)]
pub struct Tally {
    server: String,
    zone: String,
    stripes: Vec<Stripe>,
    /// Searches of `autopath` that led to an answer.
    pub(crate) searches: AtomicU64,
}

/// Counts of some threads, apart from the others' in memory.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    requests: [[AtomicU64; KINDS.len()]; WAYS.len()],
    responses: [[AtomicU64; RCODES.len()]; PLUGINS.len()],
    dnssec: AtomicU64,
    durations: Distribution<DURATIONS>,
    request_sizes: [Distribution<{ SIZES.len() }>; 2],
    response_sizes: [Distribution<{ SIZES.len() }>; 2],
}

/// How often values fell between bounds; the last place is above all of them.
#[derive(Debug)]
struct Distribution<const N: usize> {
    below: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

/// One answered query.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What came of it.
    pub reply: Reply,
    /// How it came.
    pub transport: Transport,
    /// Whether it came over IPv6.
    pub v6: bool,
    /// Octets of the query.
    pub request: usize,
    /// Octets of the answer.
    pub response: usize,
    /// How long it took.
    pub took: Duration,
}

/// All that is counted in a process.
#[derive(Debug, Default)]
pub struct Metrics {
    tallies: Mutex<BTreeMap<(String, String), Arc<Tally>>>,
    /// Configurations that could not be taken over.
    pub reload_failed: AtomicU64,
    /// Queries that were shed because too many waited for upstreams.
    pub shed: AtomicU64,
    /// Panics that were caught.
    pub panics: AtomicU64,
    /// Queries that were refused because of `max_concurrent`.
    pub crowded: AtomicU64,
    caches: Mutex<BTreeMap<(String, String), Arc<CacheTally>>>,
    /// Answers over HTTPS, by port and status.
    https: Mutex<BTreeMap<(u16, u16), Arc<AtomicU64>>>,
    /// Counts of upstreams, by their addresses.
    proxies: Mutex<BTreeMap<SocketAddr, Arc<ProxyTally>>>,
    /// Queries that found all upstreams down.
    pub(crate) broken: Arc<AtomicU64>,
    /// Age of the facts in seconds, and watches that had stopped, by kind.
    followed: Mutex<BTreeMap<Kind, (f64, u64)>>,
    /// What was asked of the API server, by host.
    asked: Mutex<BTreeMap<Arc<str>, Asked>>,
    /// How long changes took.
    pub programming: Programming,
    /// The server itself.
    pub upkeep: Upkeep,
}

impl Metrics {
    /// The counts of a block, which outlive reloads.
    pub fn tally(&self, server: &str, zone: &str) -> Arc<Tally> {
        let mut tallies = self.tallies.lock();
        let key = (server.to_owned(), zone.to_owned());
        Arc::clone(tallies.entry(key).or_insert_with(|| Arc::new(Tally::new(server, zone))))
    }

    /// The counts of a block's cache, which outlive reloads.
    pub(crate) fn cache(&self, server: &str, zone: &str) -> Arc<CacheTally> {
        Arc::clone(self.caches.lock().entry((server.to_owned(), zone.to_owned())).or_default())
    }

    /// The counts of an upstream, which outlive reloads.
    pub(crate) fn proxy(&self, address: SocketAddr) -> Arc<ProxyTally> {
        Arc::clone(self.proxies.lock().entry(address).or_default())
    }

    /// Forgets how much caches keep: those that are there tell anew.
    pub(crate) fn forget_sizes(&self) {
        let caches = self.caches.lock();
        let entries = caches.values().flat_map(|tally| &tally.entries);
        entries.for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Takes note of how the facts are followed.
    pub(crate) fn note_followed(&self, followed: BTreeMap<Kind, Followed>, now: Instant) {
        let of = |(kind, it): (Kind, Followed)| (kind, (it.age(now).as_secs_f64(), it.lost));
        *self.followed.lock() = followed.into_iter().map(of).collect();
    }

    /// Takes note of what was asked of the API server.
    pub(crate) fn note_asked(&self, asked: BTreeMap<Arc<str>, Asked>) {
        *self.asked.lock() = asked;
    }

    /// The count of answers over HTTPS with a status.
    pub(crate) fn https(&self, port: u16, status: u16) -> Arc<AtomicU64> {
        Arc::clone(self.https.lock().entry((port, status)).or_default())
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// Never, as long as a `String` can grow.
    pub fn text(self: &Arc<Self>) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(reader::Reader::of(self)));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

impl Tally {
    fn new(server: &str, zone: &str) -> Self {
        let stripes = std::iter::repeat_with(Stripe::default).take(STRIPES).collect();
        Self { server: server.to_owned(), zone: zone.to_owned(), stripes, searches: AtomicU64::new(0) }
    }

    /// Counts an answered query, handled by the thread of that number.
    pub fn count(&self, thread: usize, sample: &Sample) {
        let stripe = &self.stripes[thread % STRIPES];
        let stream = usize::from(sample.transport == Transport::Tcp);
        add(&stripe.requests[2 * stream + usize::from(sample.v6)][kind_place(sample.reply.kind)], 1);
        let rcode = usize::from(sample.reply.rcode).min(RCODES.len() - 1);
        let plugin = match sample.reply.source {
            Source::Server => 0,
            Source::Kubernetes => 1,
            Source::Cache => 2,
            Source::Forward => 3,
            Source::External => 4,
            Source::Template => 5,
            Source::Hosts => 6,
            Source::File => 7,
            Source::Whoami => 8,
        };
        add(&stripe.responses[plugin][rcode], 1);
        if sample.reply.dnssec {
            add(&stripe.dnssec, 1);
        }
        let us = u64::try_from(sample.took.as_micros()).unwrap_or(u64::MAX);
        stripe.durations.add(duration_place(us), us);
        for (distribution, size) in [
            (&stripe.request_sizes[stream], sample.request),
            (&stripe.response_sizes[stream], sample.response),
        ] {
            distribution.add(SIZES.partition_point(|bound| *bound < size), size as u64);
        }
    }

    fn sum(&self, of: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.stripes.iter().map(|stripe| of(stripe).load(Ordering::Relaxed)).sum()
    }
}

impl<const N: usize> Distribution<N> {
    fn add(&self, place: usize, value: u64) {
        add(self.below.get(place).unwrap_or(&self.above), 1);
        add(&self.sum, value);
    }

    /// How often values fell below each bound and above the one before, in order.
    fn counts(&self) -> impl Iterator<Item = u64> {
        self.below.iter().chain([&self.above]).map(|count| count.load(Ordering::Relaxed))
    }
}

impl<const N: usize> Default for Distribution<N> {
    fn default() -> Self {
        Self {
            below: std::array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }
}

/// Counts with the bounds that they are below; the last one has none.
fn buckets(bounds: impl IntoIterator<Item = f64>, counts: impl IntoIterator<Item = u64>) -> Vec<(f64, u64)> {
    bounds.into_iter().chain([f64::INFINITY]).zip(counts).collect()
}

/// The first bound that a duration is not above.
fn duration_place(us: u64) -> usize {
    us.div_ceil(FIRST_DURATION_US).max(1).next_power_of_two().trailing_zeros() as usize
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn kind_place(number: u16) -> usize {
    match number {
        kind::A => 0,
        kind::AAAA => 1,
        kind::PTR => 9,
        kind::SRV => 12,
        kind::TXT => 13,
        0 => KINDS.len() - 1,
        other => {
            let name = kind::text(other);
            KINDS.iter().position(|known| *known == name).unwrap_or(KINDS.len() - 1)
        }
    }
}
