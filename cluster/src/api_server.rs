//! A cluster's API server as a source of facts: list and watch.
//!
//! ```text
//!  for each kind                                       for all kinds
//!  list ─ every object ─┐
//!    │                  ├─ read ── Delta ──▶ queue ──▶ Store ──▶ watch channel ──▶ readers
//!  watch ─ each change ─┘   │
//!    │ 410 Gone: list again └─ an object that cannot be read: its last good form stays in force
//!    │ cut, silent, closed: watch again from the last position, later and later
//! ```
//!
//! Until every kind was listed to its end, no reader sees anything; after that, an outage of any
//! length leaves the last facts in force. A list that is made again replaces the earlier one object
//! by object, and takes away what it did not name only at its end. Everything that has arrived by
//! the time the store gets to run is one snapshot: a burst makes few snapshots, a lone change makes
//! one at once.
//!
//! A watch that has stopped telling of changes while its connection lives is found by a check now and
//! then ([`check`]), and opened again.
//!
//! What the cluster does not need to send is not asked for ([`query`]), and what is sent but not read
//! is skipped in the parser ([`crate::api`]).

mod backoff;
mod check;
mod connection;
mod follow;
mod line;
mod query;
mod read;
mod store;
mod trouble;
mod watcher;

pub use connection::Error;
pub use follow::follow;

use std::time::Duration;

/// How an API server is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Objects of one page of a list.
    pub page: u32,
    /// Ask for lists as streams (Kubernetes 1.32 and newer): neither side keeps a whole page then.
    /// A server that does not know them is asked for pages.
    pub streaming: bool,
    /// A connection that says nothing for this long is given up. Servers send bookmarks about
    /// once a minute.
    pub silence: Duration,
    /// The first wait after a failure, and the longest one.
    pub retry: (Duration, Duration),
    /// A watch is checked this often, at most; it then has to come as far as the server is within the
    /// other time.
    pub check: (Duration, Duration),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page: 500,
            streaming: true,
            silence: Duration::from_secs(90),
            retry: (Duration::from_millis(200), Duration::from_secs(30)),
            check: (Duration::from_mins(5), Duration::from_secs(90)),
        }
    }
}
