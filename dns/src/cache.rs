//! Answers of other servers, kept for as long as they say.
//!
//! Names of the cluster never come here: they are in memory already, and exact at all times.

mod kept;
mod options;
mod tally;

pub use options::{CacheOptions, Limits, Prefetch, Stale};
pub use tally::CacheTally;

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tally::add;

use kept::Kept;

use crate::wire::Rcode;
use crate::wire::query::Query;
use crate::wire::relay::{Age, Relayed};
use crate::wire::writer::{Form, Transport};

const SHARDS: usize = 256;
/// How long clients keep an answer that is out of date (RFC 8767 section 4).
const STALE_TTL_S: u32 = 30;

/// Kept answers.
#[derive(Debug)]
pub struct Cache {
    options: CacheOptions,
    hasher: hashbrown::DefaultHashBuilder,
    shards: Vec<Mutex<Shard>>,
    tally: Arc<CacheTally>,
}

type Shard = HashMap<Box<[u8]>, Arc<Kept>>;

/// A kept answer that has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its response code.
    pub rcode: u16,
    /// The caller is to ask for a newer one, without making the client wait.
    pub refresh: bool,
}

impl Cache {
    /// An empty cache.
    pub fn new(options: CacheOptions) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { options, hasher: hashbrown::DefaultHashBuilder::default(), shards, tally: Arc::default() }
    }

    /// From now on it counts where others count as well.
    pub(crate) fn count_at(&mut self, tally: Arc<CacheTally>) {
        self.tally = tally;
    }

    /// Counts how many answers are kept.
    pub(crate) fn tell_sizes(&self) {
        let (success, denial) = self.sizes();
        for (count, size) in self.tally.entries.iter().zip([success, denial]) {
            count.fetch_add(size as u64, Ordering::Relaxed);
        }
    }

    /// Counts an answer that cannot be kept since it is to another question.
    pub(crate) fn note_drop(&self) {
        add(&self.tally.drops);
    }

    /// How it is run.
    pub fn options(&self) -> &CacheOptions {
        &self.options
    }

    /// Writes a kept answer that is in date, or that may be served at once although it is not.
    pub fn answer(
        &self,
        query: &Query<'_>,
        transport: Transport,
        form: Form,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Hit> {
        add(&self.tally.requests);
        let Some(kept) = self.find(query) else {
            add(&self.tally.misses);
            return None;
        };
        let age_s = kept.age_s(now);
        if age_s < kept.ttl_s {
            add(&self.tally.hits[usize::from(kept.denial)]);
            let refresh = self.options.prefetch.is_some_and(|prefetch| kept.hit(prefetch, now));
            if refresh {
                add(&self.tally.prefetch);
            }
            let age = Age::Kept(if self.options.keep_ttl { 0 } else { age_s }, kept.ttl_s);
            return Some(Hit { rcode: kept.answer.write(query, transport, form, age, out), refresh });
        }
        add(&self.tally.misses);
        if self.options.stale_when != Stale::Immediate || !self.is_usable(&kept, age_s) {
            return None;
        }
        add(&self.tally.served_stale);
        let rcode = kept.answer.write(query, transport, form, Age::Stale(STALE_TTL_S), out);
        Some(Hit { rcode, refresh: kept.claim(now) })
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
        let usable = self.is_usable(&kept, kept.age_s(now));
        usable.then(|| {
            add(&self.tally.served_stale);
            kept.answer.write(query, transport, form, Age::Stale(STALE_TTL_S), out)
        })
    }

    /// How long upstreams are waited for; `None` is as long as they are given anyway. Without an
    /// answer that could be served instead, there is no hurry.
    pub fn patience(&self, query: &Query<'_>, now: Instant) -> Option<Duration> {
        let Stale::After(patience) = self.options.stale_when else { return None };
        self.find(query).is_some_and(|kept| self.is_usable(&kept, kept.age_s(now))).then_some(patience)
    }

    fn is_usable(&self, kept: &Kept, age_s: u32) -> bool {
        Duration::from_secs(u64::from(age_s))
            < Duration::from_secs(u64::from(kept.ttl_s)) + self.options.stale
            && kept.answer.rcode() != Rcode::ServFail.code()
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
                if victim.and_then(|victim| shard.remove(&victim)).is_some() {
                    add(&self.tally.evictions[usize::from(denial)]);
                }
            }
            let kept = Kept::new(answer.clone(), ttl_s, denial, now, shard.get(&key).map(Arc::as_ref));
            shard.insert(key, Arc::new(kept));
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
