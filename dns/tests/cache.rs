//! Kept answers, with the time told to the cache.

use std::time::{Duration, Instant};

use seaway_dns::cache::{Cache, CacheOptions, Prefetch, Stale};
use seaway_dns::name;
use seaway_dns::wire::query::Query;
use seaway_dns::wire::relay::Relayed;
use seaway_dns::wire::writer::{Form, Transport};

const TTL_S: u8 = 100;

fn message(text: &str) -> Vec<u8> {
    let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&name::parse(text).unwrap());
    message.extend_from_slice(&[0, 1, 0, 1]);
    message
}

fn answer(query: &[u8], last: u8) -> Relayed {
    let mut message = query.to_vec();
    message[2] |= 0x80;
    message[7] = 1;
    message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, TTL_S, 0, 4, 192, 0, 2, last]);
    Relayed::read(&message, query).unwrap()
}

/// A cache that holds the answer for `a.example`, and what it says to a query some seconds later: the time to
/// live, and whether a newer answer is to be asked for.
struct Held {
    cache: Cache,
    begun: Instant,
}

impl Held {
    fn new(options: CacheOptions) -> Self {
        let (cache, begun, query) = (Cache::new(options), Instant::now(), message("a.example."));
        cache.keep(&Query::read(&query).unwrap(), &answer(&query, 1), begun);
        Self { cache, begun }
    }

    fn after_s(&self, age_s: u64) -> Option<(u8, bool)> {
        let (query, mut out) = (message("A.example."), Vec::new());
        let query = Query::read(&query).unwrap();
        let now = self.begun + Duration::from_secs(age_s);
        let hit = self.cache.answer(&query, Transport::Udp, Form::FULL, now, &mut out)?;
        Some((out[out.len() - 7], hit.refresh))
    }
}

#[test]
fn kept_answers_age_and_end() {
    let held = Held::new(CacheOptions::default());
    assert_eq!(held.after_s(0), Some((100, false)));
    assert_eq!(held.after_s(40), Some((60, false)));
    assert_eq!(held.after_s(100), None);
}

#[test]
fn keepttl_leaves_the_time_to_live_alone() {
    let held = Held::new(CacheOptions { keep_ttl: true, ..CacheOptions::default() });
    assert_eq!(held.after_s(40), Some((100, false)));
    assert_eq!(held.after_s(100), None);
}

#[test]
fn what_is_asked_for_often_is_renewed_once_before_it_ends() {
    let prefetch = Prefetch { hits: 3, window: Duration::from_secs(60), percent: 20 };
    let held = Held::new(CacheOptions { prefetch: Some(prefetch), ..CacheOptions::default() });
    let hits = [50, 70, 79, 80, 81].map(|age_s| held.after_s(age_s).unwrap().1);
    assert_eq!(hits, [false, false, false, true, false], "at 20 % of its time, and not twice at once");
}

#[test]
fn pauses_begin_the_count_anew() {
    let prefetch = Prefetch { hits: 3, window: Duration::from_secs(10), percent: 90 };
    let held = Held::new(CacheOptions { prefetch: Some(prefetch), ..CacheOptions::default() });
    let hits = [10, 15, 40, 45, 50].map(|age_s| held.after_s(age_s).unwrap().1);
    assert_eq!(hits, [false, false, false, false, true]);
}

#[test]
fn answers_out_of_date_are_served_at_once_where_that_is_asked_for() {
    let options =
        |stale_when| CacheOptions { stale: Duration::from_secs(50), stale_when, ..CacheOptions::default() };
    let held = Held::new(options(Stale::Immediate));
    assert_eq!(held.after_s(101), Some((30, true)), "and renewed");
    assert_eq!(held.after_s(102), Some((30, false)), "by one query at a time");
    assert_eq!(held.after_s(120), Some((30, true)), "and again if that led to nothing");
    assert_eq!(held.after_s(151), None);
    assert_eq!(Held::new(options(Stale::Failing)).after_s(101), None);
}

#[test]
fn upstreams_are_hurried_only_where_there_is_an_answer_to_fall_back_on() {
    let patience = Duration::from_millis(300);
    let held = Held::new(CacheOptions { stale_when: Stale::After(patience), ..CacheOptions::default() });
    let later = held.begun + Duration::from_secs(101);
    let known = message("a.example.");
    assert_eq!(held.cache.patience(&Query::read(&known).unwrap(), later), Some(patience));
    let other = message("b.example.");
    assert_eq!(held.cache.patience(&Query::read(&other).unwrap(), later), None);
}
