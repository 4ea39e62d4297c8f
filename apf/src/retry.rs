//! When a refused client should come back: a value per level that reacts to drops like TCP does.

use crate::number;
use std::collections::VecDeque;

/// Where it starts, in seconds.
pub const INITIAL_S: u64 = 1;
/// Where it ends, in seconds.
pub const MAX_S: u64 = 32;

/// The Retry-After of one level.
#[derive(Clone, Debug)]
pub struct RetryAfter {
    value_s: u64,
    last_increase_s: u64,
    /// The second of the newest drops, and how many.
    current: (u64, u64),
    /// Earlier seconds with drops, oldest first.
    history: VecDeque<(u64, u64)>,
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self { value_s: INITIAL_S, last_increase_s: 0, current: (0, 0), history: VecDeque::new() }
    }
}

impl RetryAfter {
    /// Counts a refused request at this second of any clock that does not go back.
    pub fn dropped(&mut self, now_s: u64) {
        if now_s == self.current.0 {
            self.current.1 += 1;
            return;
        }
        let previous = std::mem::replace(&mut self.current, (now_s, 1));
        if previous.1 == 0 {
            return;
        }
        self.history.push_back(previous);
        let keep_s = (2 * self.value_s).min(MAX_S);
        while self.history.front().is_some_and(|(second, _)| previous.0.saturating_sub(*second) > keep_s) {
            self.history.pop_front();
        }
        self.adapt(now_s);
    }

    /// Seconds after which to come back.
    #[must_use]
    pub const fn seconds(&self) -> u64 {
        self.value_s
    }

    fn adapt(&mut self, now_s: u64) {
        let recent = |second: u64| now_s > second && now_s - second <= self.value_s;
        let drops: u64 = self.history.iter().filter(|(second, _)| recent(*second)).map(|(_, n)| n).sum();
        if now_s - self.last_increase_s.min(now_s) >= self.value_s && drops >= 3 * self.value_s {
            self.value_s = (2 * self.value_s).min(MAX_S);
            self.last_increase_s = now_s;
        } else if drops < self.value_s && self.value_s > 1 {
            self.value_s -= 1;
        }
    }
}

/// Seconds until a queue has likely drained, with up to half as much jitter so that refused clients do
/// not come back together. `random` is any number from 0 to 1.
#[must_use]
pub fn after_drain(drain_ns: f64, random: f64) -> u64 {
    let seconds = drain_ns / 1e9 * (1.0 + 0.5 * random.clamp(0.0, 1.0));
    number::truncate(seconds.ceil()).clamp(INITIAL_S, MAX_S)
}
