//! Lines about failed queries, and one line about many where that is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use regex::Regex;

/// The `errors` plugin of a block.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    /// Panics are told with where they came from.
    pub stacktrace: bool,
    /// What is counted rather than told; the first that fits counts.
    pub bursts: Vec<Arc<Burst>>,
}

/// Failures that are told together.
#[derive(Debug)]
pub struct Burst {
    /// How long they are collected.
    pub period: Duration,
    /// What their lines look like.
    pub pattern: Regex,
    /// How serious they are.
    pub level: Level,
    /// The first of them is told at once.
    pub show_first: bool,
    count: AtomicU32,
}

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Of interest to whoever looks for something.
    Debug,
    /// Of interest.
    Info,
    /// Perhaps a mistake.
    Warning,
    /// A mistake.
    Error,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is written.
    Told,
    /// It is counted, as the first since the last summary: that is due after the period. Whether it
    /// is written as well.
    Begun(bool),
    /// It is counted.
    Counted,
}

impl Errors {
    /// Takes in a line about a failure.
    pub fn note(&self, line: &str) -> (Fate, Option<&Arc<Burst>>) {
        match self.bursts.iter().find(|burst| burst.pattern.is_match(line)) {
            None => (Fate::Told, None),
            Some(burst) if burst.count.fetch_add(1, Ordering::Relaxed) == 0 => {
                (Fate::Begun(burst.show_first), Some(burst))
            }
            Some(burst) => (Fate::Counted, Some(burst)),
        }
    }
}

impl Burst {
    /// Nothing has been counted yet.
    pub fn new(period: Duration, pattern: Regex, level: Level, show_first: bool) -> Self {
        Self { period, pattern, level, show_first, count: AtomicU32::new(0) }
    }

    /// The line about all that were counted since the last one; one that was told needs none.
    pub fn summary(&self) -> Option<String> {
        let count = self.count.swap(0, Ordering::Relaxed);
        let untold = count > u32::from(self.show_first);
        untold.then(|| format!("{count} errors like '{}' occurred in last {:?}", self.pattern, self.period))
    }
}

impl Level {
    /// Writes a line.
    pub fn write(self, line: &str) {
        match self {
            Self::Debug => tracing::debug!("{line}"),
            Self::Info => tracing::info!("{line}"),
            Self::Warning => tracing::warn!("{line}"),
            Self::Error => tracing::error!("{line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(show_first: bool) -> Errors {
        let pattern = Regex::new("in time$").unwrap();
        let burst = Burst::new(Duration::from_secs(300), pattern, Level::Warning, show_first);
        Errors { stacktrace: false, bursts: vec![Arc::new(burst)] }
    }

    #[test]
    fn lines_of_a_pattern_are_counted_and_others_are_told() {
        for show_first in [false, true] {
            let errors = errors(show_first);
            let fate = |line: &str| errors.note(line).0;
            assert_eq!(fate("2 a. A: no answer in time"), Fate::Begun(show_first));
            assert_eq!(fate("2 b. A: no answer in time"), Fate::Counted);
            assert_eq!(fate("2 b. A: down"), Fate::Told);
            let summary = "2 errors like 'in time$' occurred in last 300s";
            assert_eq!(errors.bursts[0].summary().as_deref(), Some(summary));
            assert_eq!(fate("2 a. A: no answer in time"), Fate::Begun(show_first));
            assert_eq!(errors.bursts[0].summary().is_none(), show_first);
        }
    }
}
