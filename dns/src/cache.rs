//! Answers of other servers, kept for as long as they say.
//!
//! Names of the cluster never come here: they are in memory already, and exact at all times.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::name::Zone;
use crate::wire::Rcode;
use crate::wire::query::Query;
use crate::wire::relay::{Age, Relayed};
use crate::wire::writer::{Form, Transport};

const SHARDS: usize = 256;
/// What CoreDNS keeps: 256 shards of 39.
const CAPACITY_DEFAULT: usize = 9984;
const TTL_MIN_S: u32 = 5;
const SUCCESS_MAX_S: u32 = 3600;
const DENIAL_MAX_S: u32 = 1800;
const FAILURE_S: u32 = 5;
const STALE_DEFAULT: Duration = Duration::from_hours(1);
/// How long clients keep an answer that is out of date (RFC 8767 section 4).
const STALE_TTL_S: u32 = 30;

/// The `cache` plugin of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// The zones whose answers are kept; empty means all.
    pub zones: Vec<Zone>,
    /// Answers with data.
    pub success: Limits,
    /// Answers without.
    pub denial: Limits,
    /// How long a failure is kept, in seconds.
    pub failure_s: u32,
    /// How long after its end an answer is good enough when nobody else can be reached.
    pub stale: Duration,
}

/// What is kept of one sort of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many answers; 0 keeps none.
    pub capacity: usize,
    /// The shortest time, in seconds.
    pub min_s: u32,
    /// The longest time, in seconds.
    pub max_s: u32,
    /// Zones of which none are kept.
    pub disabled: Vec<Zone>,
}

/// Kept answers.
#[derive(Debug)]
pub struct Cache {
    options: CacheOptions,
    hasher: hashbrown::DefaultHashBuilder,
    shards: Vec<Mutex<Shard>>,
}

type Shard = HashMap<Box<[u8]>, Arc<Kept>>;

#[derive(Debug)]
struct Kept {
    answer: Relayed,
    since: Instant,
    ttl_s: u32,
    denial: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        let limits =
            |max_s| Limits { capacity: CAPACITY_DEFAULT, min_s: TTL_MIN_S, max_s, disabled: Vec::new() };
        Self {
            zones: Vec::new(),
            success: limits(SUCCESS_MAX_S),
            denial: limits(DENIAL_MAX_S),
            failure_s: FAILURE_S,
            stale: STALE_DEFAULT,
        }
    }
}

impl Cache {
    /// An empty cache.
    pub fn new(options: CacheOptions) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { options, hasher: hashbrown::DefaultHashBuilder::default(), shards }
    }

    /// Writes a kept answer that is in date, and returns its code.
    pub fn answer(
        &self,
        query: &Query<'_>,
        transport: Transport,
        form: Form,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<u16> {
        let kept = self.find(query)?;
        let age_s = kept.age_s(now);
        (age_s < kept.ttl_s)
            .then(|| kept.answer.write(query, transport, form, Age::Kept(age_s, kept.ttl_s), out))
    }

    /// Writes a kept answer that is out of date, but not for too long, and returns its code.
    pub fn stale(
        &self,
        query: &Query<'_>,
        transport: Transport,
        form: Form,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<u16> {
        let kept = self.find(query)?;
        let age = Duration::from_secs(u64::from(kept.age_s(now)));
        let usable = age < Duration::from_secs(u64::from(kept.ttl_s)) + self.options.stale
            && kept.answer.rcode() != Rcode::ServFail.code();
        usable.then(|| kept.answer.write(query, transport, form, Age::Stale(STALE_TTL_S), out))
    }

    /// Keeps an answer if it may be kept. Returns how its times to live are to be limited in the
    /// answer that goes out now.
    pub fn keep(&self, query: &Query<'_>, answer: &Relayed, now: Instant) -> Age {
        let unlimited = Age::New(0, u32::MAX);
        let zones = &self.options.zones;
        let ours = zones.is_empty() || zones.iter().any(|zone| query.name.is_within(zone));
        let Some(denial) = sort(answer).filter(|_| ours) else { return unlimited };
        let limits = if denial { &self.options.denial } else { &self.options.success };
        if limits.capacity == 0 || limits.disabled.iter().any(|zone| query.name.is_within(zone)) {
            return unlimited;
        }
        let failed = matches!(answer.rcode(), 2 | 4);
        let (min_s, max_s) = if failed {
            (self.options.failure_s, self.options.failure_s)
        } else {
            (limits.min_s, limits.max_s)
        };
        let ttl_s = answer.lowest_ttl_s().unwrap_or(max_s).clamp(min_s, max_s);
        let key = key(query);
        let mut shard = self.shard(&key).lock();
        // A failure must not displace an answer that may yet be served when out of date.
        let better = shard.get(&key).is_some_and(|kept| failed && kept.answer.rcode() != answer.rcode());
        if ttl_s > 0 && !better {
            let count = shard.values().filter(|kept| kept.denial == denial).count();
            if count * SHARDS >= limits.capacity && !shard.contains_key(&key) {
                // Where keys are hashed with a secret, the first one is a random one.
                let victim = shard.iter().find(|(_, kept)| kept.denial == denial).map(|(key, _)| key.clone());
                victim.and_then(|victim| shard.remove(&victim));
            }
            shard.insert(key, Arc::new(Kept { answer: answer.clone(), since: now, ttl_s, denial }));
        }
        Age::New(min_s.min(max_s), max_s)
    }

    /// How many answers are kept: with data, and without.
    pub fn sizes(&self) -> (usize, usize) {
        let mut sizes = (0, 0);
        for shard in &self.shards {
            let shard = shard.lock();
            let denials = shard.values().filter(|kept| kept.denial).count();
            sizes = (sizes.0 + shard.len() - denials, sizes.1 + denials);
        }
        sizes
    }

    fn find(&self, query: &Query<'_>) -> Option<Arc<Kept>> {
        let key = key(query);
        self.shard(&key).lock().get(&key).cloned()
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(key).to_be_bytes();
        &self.shards[usize::from(hash[0]) % SHARDS]
    }
}

impl Kept {
    fn age_s(&self, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.since).as_secs();
        u32::try_from(age).unwrap_or(u32::MAX)
    }
}

/// Whether an answer is a denial; `None` if it may not be kept.
fn sort(answer: &Relayed) -> Option<bool> {
    if answer.is_truncated() {
        return None;
    }
    match answer.rcode() {
        0 if answer.has_data() => Some(false),
        0 | 3 => answer.has_soa().then_some(true),
        2 | 4 => Some(true),
        _ => None,
    }
}

/// Name, type, and whether DNSSEC matters to the client.
fn key(query: &Query<'_>) -> Box<[u8]> {
    let dnssec = u8::from(query.edns.is_some_and(|edns| edns.dnssec));
    let checking = u8::from(query.flags & 0x0010 != 0) << 1;
    let mut key = query.name.folded_wire().to_vec();
    key.extend_from_slice(&query.kind.to_be_bytes());
    key.push(dnssec | checking);
    key.into()
}
