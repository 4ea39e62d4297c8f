//! Whether a watch that says nothing has nothing to say.
//!
//! Now and then the API server is asked for one object of the kind. Its answer is cheap, and tells how
//! far the cluster is and, where nothing is selected, how many objects there are:
//!
//! ```text
//!  asked ── version, count ──▶ the watch comes as far in time ── counts agree ──▶ sound
//!                │                        └── not, twice in a row ──▶ lost: list again
//!                └── it does not: open it again ── it begins with older changes ──▶ lost
//!                                               └── with anything else ──▶ there was nothing to say
//! ```
//!
//! Versions are compared as numbers (KEP-5504); where they are none, nothing is concluded from them.

use std::time::{Duration, Instant};

/// Counts that have to differ in a row: the API calls its count an estimate (`ListMeta`, meta/v1).
const DIFFERENT_COUNTS: u32 = 2;

/// The checks of one watch. The clock and random numbers are the caller's.
#[derive(Debug)]
pub(super) struct Checks {
    every: Duration,
    settle: Duration,
    next: Instant,
    heard: Option<Heard>,
    /// How far the cluster was when the last watch was given up for not having come as far.
    suspected: Option<u64>,
    /// Objects that the watch has told of.
    count: i64,
    different: u32,
    lost: bool,
}

/// What the API server said.
#[derive(Clone, Copy, Debug)]
struct Heard {
    version: u64,
    count: Option<i64>,
}

/// What follows for the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    None,
    /// The watch before this one had lost changes, which this one has brought.
    Lost {
        /// Nobody was told since the last sound check.
        new: bool,
    },
    /// Changes are missing that no watch from here on will bring: everything has to be listed.
    Missing {
        /// Nobody was told since the last sound check.
        new: bool,
    },
}

/// What is to be done when [`Checks::due`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask the API server.
    Ask,
    /// Give up the watch, and go on with another from the same position.
    Reopen,
}

impl Checks {
    /// Checks `every` so often; a watch has to come as far as the API server is within `settle`.
    pub(super) fn new((every, settle): (Duration, Duration), now: Instant, random: u32) -> Self {
        let mut checks = Self {
            every,
            settle,
            next: now,
            heard: None,
            suspected: None,
            count: 0,
            different: 0,
            lost: false,
        };
        checks.put_off(now, random);
        checks
    }

    /// When something is to be done.
    pub(super) fn due(&self) -> Instant {
        self.next
    }

    /// Does it, or tells what to do.
    pub(super) fn take_due(&mut self, now: Instant, random: u32) -> Due {
        self.put_off(now, random);
        match self.heard.take() {
            None => Due::Ask,
            Some(heard) => {
                self.suspected = Some(heard.version);
                Due::Reopen
            }
        }
    }

    /// A list of everything begins.
    pub(super) fn listing(&mut self) {
        (self.count, self.heard, self.suspected) = (0, None, None);
    }

    /// The list told of so many objects more.
    pub(super) fn listed(&mut self, objects: usize) {
        self.count += i64::try_from(objects).unwrap_or(i64::MAX);
    }

    /// A watch was opened: what it has to reach, it gets the whole time for.
    pub(super) fn opened(&mut self, now: Instant) {
        if self.heard.is_some() {
            self.next = now + self.settle;
        }
    }

    /// The API server was this far, with so many objects, when the watch was at `position`.
    pub(super) fn heard(
        &mut self,
        version: Option<&str>,
        count: Option<u64>,
        position: Option<&str>,
        now: Instant,
    ) -> Verdict {
        let (Some(version), Some(position)) = (number(version), number(position)) else {
            return Verdict::None;
        };
        let count = count.and_then(|count| i64::try_from(count).ok());
        self.heard = Some(Heard { version, count });
        self.next = now + self.settle;
        if position >= version { self.judge(position == version) } else { Verdict::None }
    }

    /// The watch told of `change` objects more (-1 to 1; none for a bookmark), at a position.
    pub(super) fn told(&mut self, position: Option<&str>, change: Option<i64>) -> Verdict {
        let position = number(position);
        if let Some(suspected) = self.suspected.take()
            && change.is_some()
            && position.is_some_and(|position| position <= suspected)
        {
            self.count += change.unwrap_or_default();
            return Verdict::Lost { new: !std::mem::replace(&mut self.lost, true) };
        }
        let heard = self.heard.map(|heard| heard.version).zip(position);
        let beyond = heard.is_some_and(|(version, position)| position > version);
        let before = if beyond { self.judge(true) } else { Verdict::None };
        self.count += change.unwrap_or_default();
        let reached = heard.is_some_and(|(version, position)| position == version);
        if reached { self.judge(true) } else { before }
    }

    /// The watch has come as far as was heard; `exactly` so, if its count is of that moment.
    fn judge(&mut self, exactly: bool) -> Verdict {
        let counts = self.heard.take().and_then(|heard| heard.count).filter(|_| exactly);
        match counts {
            Some(count) if count != self.count => {
                self.different += 1;
                // Soon again, to be sure.
                self.next -= self.settle / 2;
                if self.different < DIFFERENT_COUNTS {
                    return Verdict::None;
                }
                self.different = 0;
                Verdict::Missing { new: !std::mem::replace(&mut self.lost, true) }
            }
            _ => {
                self.next += self.every.saturating_sub(self.settle);
                (self.different, self.lost) = (0, false);
                Verdict::None
            }
        }
    }

    /// Between half of the time and all of it, so that a thousand agents do not ask at once.
    fn put_off(&mut self, now: Instant, random: u32) {
        self.next = now + self.every.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0);
    }
}

fn number(version: Option<&str>) -> Option<u64> {
    version?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(300);
    const SETTLE: Duration = Duration::from_secs(90);
    const NEW: Verdict = Verdict::Lost { new: true };

    /// Checks of a watch that knows two objects, of which the API server has just been asked.
    fn asked() -> (Checks, Instant) {
        let now = Instant::now();
        let mut checks = Checks::new((EVERY, SETTLE), now, 0);
        checks.listing();
        checks.listed(2);
        assert_eq!(checks.due(), now + EVERY / 2);
        assert_eq!(checks.take_due(now, u32::MAX), Due::Ask);
        (checks, now)
    }

    #[test]
    fn a_watch_that_comes_as_far_is_sound() {
        let (mut checks, now) = asked();
        assert_eq!(checks.heard(Some("20"), Some(3), Some("10"), now), Verdict::None);
        assert_eq!(checks.told(Some("15"), Some(1)), Verdict::None);
        assert_eq!(checks.due(), now + SETTLE);
        // This change is later than what was heard, and does not count for it.
        assert_eq!(checks.told(Some("21"), Some(1)), Verdict::None);
        assert_eq!(checks.due(), now + EVERY);
        assert_eq!(checks.take_due(now + EVERY, 0), Due::Ask);
    }

    #[test]
    fn a_watch_that_is_behind_has_lost_what_the_next_one_begins_with() {
        let (mut checks, now) = asked();
        checks.heard(Some("20"), None, Some("10"), now);
        assert_eq!(checks.take_due(now + SETTLE, 0), Due::Reopen);
        assert_eq!(checks.told(Some("15"), Some(0)), NEW);
        assert_eq!(checks.told(Some("16"), Some(1)), Verdict::None);
        // A quiet kind has nothing older to send, or only a bookmark.
        for (position, change) in [("21", Some(1)), ("10", None)] {
            checks.heard(Some("20"), None, Some("10"), now);
            assert_eq!(checks.take_due(now + SETTLE, 0), Due::Reopen);
            assert_eq!(checks.told(Some(position), change), Verdict::None);
        }
    }

    #[test]
    fn counts_that_differ_twice_lead_to_a_list() {
        let (mut checks, now) = asked();
        assert_eq!(checks.heard(Some("20"), Some(3), Some("20"), now), Verdict::None);
        assert!(checks.due() < now + SETTLE);
        checks.take_due(now, 0);
        checks.heard(Some("30"), Some(3), Some("20"), now);
        assert_eq!(checks.told(Some("30"), None), Verdict::Missing { new: true });
        checks.listing();
        checks.listed(3);
        assert_eq!(checks.heard(Some("40"), Some(3), Some("40"), now), Verdict::None);
        // It was sound in between.
        for (count, verdict) in [(4, Verdict::None), (4, Verdict::Missing { new: true })] {
            assert_eq!(checks.heard(Some("50"), Some(count), Some("50"), now), verdict);
        }
        assert_eq!(checks.heard(Some("50"), Some(9), Some("50"), now), Verdict::None);
        assert_eq!(checks.heard(Some("50"), Some(9), Some("50"), now), Verdict::Missing { new: false });
    }

    #[test]
    fn versions_that_are_no_numbers_say_nothing() {
        let (mut checks, now) = asked();
        assert_eq!(checks.heard(Some("x"), Some(9), Some("10"), now), Verdict::None);
        assert_eq!(checks.take_due(now, 0), Due::Ask);
        checks.heard(Some("20"), Some(9), Some("10"), now);
        assert_eq!(checks.told(Some("y"), Some(1)), Verdict::None);
        checks.opened(now + SETTLE);
        assert_eq!(checks.due(), now + SETTLE + SETTLE);
    }
}
