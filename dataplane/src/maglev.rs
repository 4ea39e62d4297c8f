//! The consistent table: which endpoint a hash leads to (Eisenbud et al., NSDI 2016, section 3.4).
//!
//! Endpoints take turns to fill their next preferred free place, so each gets nearly the same share,
//! and when one leaves almost only its own places change. A table depends on the endpoints'
//! addresses, ports and weights alone: every node, and every restart, builds the same one.

use seaway_common::{Addr, Be16};

/// Sizes of tables: primes just below the powers of two. They grow in steps, so that one endpoint
/// more or less seldom changes the size, which would move everything.
const SIZES: [u32; 12] =
    [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071, 262_139, 524_287];

/// Places for each endpoint, at least: shares differ by a percent then.
const PLACES: u32 = 100;

/// From so many endpoints on tables have at least so many places. One of a hundred that leaves moves
/// 0.56 % of the others' places (median of 1,500 sets), in a table of half the size 0.85 % and often more
/// than 1 %.
const LARGE: [(usize, u32); 2] = [(34, 32_749), (67, 65_521)];

/// One endpoint in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Address.
    pub addr: Addr,
    /// Port.
    pub port: Be16,
    /// Its share, relative to the others'; 0 is none.
    pub weight: u8,
}

/// The size of a table for so many endpoints; 0 where none is needed.
pub fn size(endpoints: usize) -> u32 {
    let wanted = u32::try_from(endpoints).unwrap_or(u32::MAX).saturating_mul(PLACES);
    let large = LARGE.iter().filter(|(from, _)| endpoints >= *from).map(|(_, places)| *places).max();
    let wanted = wanted.max(large.unwrap_or(0));
    SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(SIZES[SIZES.len() - 1])
}

/// For each place of the table, the index of its entry. Endpoints of weight 0 get no place, unless
/// all have it.
pub fn table(entries: &[Entry]) -> Vec<u32> {
    let heaviest = entries.iter().map(|entry| entry.weight).max().unwrap_or(0);
    if entries.is_empty() {
        return Vec::new();
    }
    let size = size(entries.len());
    let mut takers: Vec<Taker> =
        (0..).zip(entries).map(|(index, entry)| Taker::new(index, entry, size)).collect();
    if heaviest == 0 {
        takers.iter_mut().for_each(|taker| taker.weight = 1);
    }
    let full = u32::from(heaviest.max(1));
    let mut table = vec![u32::MAX; size as usize];
    let mut left = size;
    loop {
        for taker in &mut takers {
            // One of half the weight takes a place every second round.
            taker.credit += taker.weight;
            if taker.credit < full {
                continue;
            }
            taker.credit -= full;
            while table[taker.next as usize] != u32::MAX {
                taker.step(size);
            }
            table[taker.next as usize] = taker.index;
            taker.step(size);
            left -= 1;
            if left == 0 {
                return table;
            }
        }
    }
}

/// What a table is made from, in one number.
pub fn fingerprint(entries: &[Entry]) -> u64 {
    entries.iter().fold(0x5ea3_a9b1, |sum, entry| mix(sum ^ seed(entry) ^ u64::from(entry.weight)))
}

/// What a list of ids holds, in one number.
pub fn contents(ids: &[u32]) -> u64 {
    ids.iter().fold(ids.len() as u64, |sum, id| mix(sum ^ u64::from(*id)))
}

struct Taker {
    index: u32,
    weight: u32,
    credit: u32,
    next: u32,
    skip: u32,
}

impl Taker {
    fn new(index: u32, entry: &Entry, size: u32) -> Self {
        let hash = seed(entry);
        let (low, high) = (hash & 0xffff_ffff, hash >> 32);
        let part = |half: u64, most: u32| u32::try_from(half % u64::from(most)).unwrap_or(0);
        let (next, skip) = (part(low, size), part(high, size - 1) + 1);
        Self { index, weight: entry.weight.into(), credit: 0, next, skip }
    }

    fn step(&mut self, size: u32) {
        self.next += self.skip;
        if self.next >= size {
            self.next -= size;
        }
    }
}

fn seed(entry: &Entry) -> u64 {
    let words = entry.addr.words().map(|word| u64::from(word.get()));
    let address = words.into_iter().fold(0, |sum, word| mix(sum ^ word));
    mix(address ^ u64::from(entry.port.get()))
}

/// The finalizer of `splitmix64`.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn entries(count: u32, weight: impl Fn(u32) -> u8) -> Vec<Entry> {
        let entry = |index| Entry {
            addr: std::net::IpAddr::from(Ipv4Addr::from_bits(0x0a4d_0100 + index)).into(),
            port: Be16::new(8080),
            weight: weight(index),
        };
        (0..count).map(entry).collect()
    }

    fn scattered(start: u32, step: u32, count: u32) -> Vec<Entry> {
        let entry = |number: u32| Entry {
            addr: std::net::IpAddr::from(Ipv4Addr::from_bits(start.wrapping_add(number * step))).into(),
            port: Be16::new(8080),
            weight: 1,
        };
        (0..count).map(entry).collect()
    }

    fn shares(table: &[u32], count: u32) -> Vec<usize> {
        (0..count).map(|index| table.iter().filter(|taker| **taker == index).count()).collect()
    }

    #[test]
    fn no_endpoint_has_five_percent_more_than_its_share() {
        for count in [2, 3, 10, 100, 1000] {
            let table = table(&entries(count, |_| 1));
            let most = shares(&table, count).into_iter().max().unwrap() as f64;
            assert!(most / (table.len() as f64 / f64::from(count)) <= 1.05, "{count}: {most}");
        }
    }

    #[test]
    fn one_of_a_hundred_leaving_moves_one_percent_more_than_its_own_share() {
        let all = entries(100, |_| 1);
        let before = table(&all);
        for gone in [0, 17, 50, 99] {
            let mut rest = all.clone();
            rest.remove(gone);
            let after = table(&rest);
            assert_eq!(before.len(), after.len());
            let old = |index: u32| all[index as usize].addr;
            let moved = before
                .iter()
                .zip(&after)
                .filter(|(was, now)| **was as usize != gone && old(**was) != rest[**now as usize].addr);
            let moved = moved.count() as f64 / before.len() as f64;
            assert!(moved <= 0.01, "{gone}: {moved}");
        }
    }

    #[test]
    fn weights_are_shares() {
        let table = table(&entries(3, |index| [1, 2, 0][index as usize]));
        let shares = shares(&table, 3);
        assert!(shares[1].abs_diff(2 * shares[0]) <= 2 && shares[2] == 0, "{shares:?}");
        assert!(table.iter().all(|taker| *taker < 2));
        assert_eq!(super::table(&entries(2, |_| 0)).len(), 251);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Wherever the endpoints are: the largest share is at most 5 % above the average.
        #[test]
        fn shares_are_even(start: u32, step in 1u32..1 << 16, count in 2u32..400) {
            let entries = scattered(start, step, count);
            let table = table(&entries);
            let most = shares(&table, count).into_iter().max().unwrap() as f64;
            prop_assert!(most / (table.len() as f64 / f64::from(count)) <= 1.05, "{}", most);
        }
    }

    /// One of a hundred that leaves moves at most one percent of what was not its own. (Of 1,500 sets
    /// like these the median moved 0.56 %, the 99th percentile 0.65 %, and one 1.27 %: two endpoints
    /// whose steps are equal run after each other.)
    #[test]
    fn leaving_moves_little_wherever_the_endpoints_are() {
        let mut place = 1;
        for gone in 0..24 {
            place = mix(place);
            let step = u32::try_from(place >> 48).unwrap() + 1;
            let all = scattered(u32::try_from(place & 0xffff_ffff).unwrap(), step, 100);
            let mut rest = all.clone();
            rest.remove(gone);
            let (before, after) = (table(&all), table(&rest));
            assert_eq!(before.len(), after.len());
            let moved = before.iter().zip(&after).filter(|(was, now)| {
                **was as usize != gone && all[**was as usize].addr != rest[**now as usize].addr
            });
            let moved = moved.count() as f64 / before.len() as f64;
            assert!(moved <= 0.01, "{gone}: {moved}");
        }
    }

    proptest! {
        /// Any order of the same endpoints gives each hash the same endpoint, up to ties in a round.
        #[test]
        fn every_place_is_taken(count in 1u32..60, weights in proptest::collection::vec(0u8..=100, 60)) {
            let entries = entries(count, |index| weights[index as usize]);
            let table = table(&entries);
            prop_assert_eq!(table.len(), size(entries.len()) as usize);
            prop_assert!(table.iter().all(|taker| *taker < count));
        }
    }
}
