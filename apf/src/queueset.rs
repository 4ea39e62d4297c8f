//! The queues and the dispatcher of one level: fair queuing in virtual time.
//!
//! A progress meter `R` advances by the seats that each active queue could use if all shared alike.
//! Each queue has a virtual time at which its next request is due; the queue whose head would finish
//! first, were it given one seat-second per unit of `R`, goes first. A request's execution time is
//! guessed when it starts and corrected when it ends.
//!
//! Time is a parameter of every operation, in nanoseconds from any origin; it must not go back.
//! Requests that leave a queue to execute are handed out by [`QueueSet::take_ready`].

mod arrival;
mod completion;
mod dispatch;
mod dump;
mod entries;
mod observe;
mod order;
mod progress;
mod reconfigure;
mod water;

pub use dump::{QueueDump, RequestDump};
pub use entries::RequestId;
pub use observe::{LevelStats, SchemaStats};
pub use order::Order;

use crate::behaviour::Behaviour;
use crate::deal::{self, Dealer};
use crate::seats::{SeatSeconds, Work};
use entries::{Entries, Fifo};
use observe::Observer;
use progress::Progress;
use smallvec::SmallVec;
use water::WaterLevel;

/// The shape of a queue set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Number of queues; 0 refuses what cannot execute at once, negative never limits.
    pub queues: i32,
    /// Queues dealt to each flow.
    pub hand_size: i32,
    /// Most requests waiting in one queue while no seat is free.
    pub queue_length_limit: u32,
    /// Concurrency limit in seats.
    pub seats: u32,
}

/// A request that arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<D> {
    /// Hash of its flow.
    pub hash: u64,
    /// What it is expected to cost.
    pub work: Work,
    /// Weight of its flow; at least 1.
    pub weight: u32,
    /// Row of its schema in the statistics, from [`QueueSet::schema`].
    pub schema: u32,
    /// Kept for dumps until its seats are released.
    pub detail: D,
}

/// What becomes of a request that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It executes from now on.
    Executing(RequestId),
    /// It waits in a queue.
    Waiting(RequestId),
    /// It is refused.
    Refused(Reason),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Its queue is full.
    QueueFull,
    /// The level does not queue, and is full.
    ConcurrencyLimit,
    /// It waited too long, or its client went away.
    TimeOut,
    /// The server is shutting down. Metrics count it as a time-out, if it waited.
    ShuttingDown,
}

/// What becomes of the seats of a request that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// They are free.
    Released,
    /// They stay taken until [`QueueSet::release`] is called at this time.
    Lingering {
        /// When to release them, in nanoseconds.
        until_ns: u64,
    },
    /// The request was not executing.
    Unknown,
}

/// Sums over a queue set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests waiting.
    pub waiting: u32,
    /// Requests executing; lingering ones do not count.
    pub executing: u32,
    /// Seats taken, by lingering requests too.
    pub seats_in_use: u32,
    /// Seats that waiting requests will take.
    pub seats_waiting: u32,
    /// Requests that ever started to execute.
    pub dispatched: u64,
    /// Requests ever refused.
    pub rejected: u64,
    /// Requests that left a queue without executing; counted as refused too.
    pub cancelled: u64,
}

/// The queues and the dispatcher of one level. `D` describes a request in dumps, `W` is handed out
/// when a waiting request starts.
#[derive(Debug)]
pub struct QueueSet<D, W> {
    config: Config,
    behaviour: Behaviour,
    dealer: Option<Dealer>,
    entries: Entries<D, W>,
    /// All queues, also removed ones that a lingering request still holds on to.
    queues: Vec<Queue>,
    free_queues: Vec<u32>,
    /// Rows of the queues in the set, by index.
    ring: Vec<u32>,
    order: Order,
    progress: Progress,
    water: Option<WaterLevel>,
    robin: i64,
    enqueues: usize,
    totals: Totals,
    /// Seats dispatched past a head that did not fit, and that head.
    backfill: (Option<RequestId>, u32),
    ready: SmallVec<[(RequestId, W); 4]>,
    observer: Observer,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    /// Position in the set, or `None` when removed.
    index: Option<u32>,
    fifo: Fifo,
    executing: u32,
    seats_in_use: u32,
    seats_waiting: u32,
    waiting_work: SeatSeconds,
    next_dispatch_r: SeatSeconds,
    /// Of the flow that arrived last; 0 before the first.
    weight: u32,
}

impl<D, W> QueueSet<D, W> {
    /// An idle queue set.
    ///
    /// # Errors
    /// Queues and hand size that make no dealer.
    pub fn new(config: Config, behaviour: Behaviour, now_ns: u64) -> Result<Self, deal::Error> {
        let mut set = Self {
            config: Config::default(),
            behaviour,
            dealer: None,
            entries: Entries::new(),
            queues: Vec::new(),
            free_queues: Vec::new(),
            ring: Vec::new(),
            order: Order::new(0),
            progress: Progress::new(now_ns),
            water: behaviour.max_min_shares.then(WaterLevel::default),
            robin: 0,
            enqueues: 0,
            totals: Totals::default(),
            backfill: (None, 0),
            ready: SmallVec::new(),
            observer: Observer::new(now_ns),
        };
        set.reconfigure(now_ns, config)?;
        Ok(set)
    }

    /// The shape in force.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.config
    }

    /// Sums over the set.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether nothing waits or executes; lingering requests do not count.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.totals.waiting == 0 && self.totals.executing == 0
    }

    /// Number of queues, which may exceed the configured one until surplus ones have drained.
    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.ring.len()
    }

    /// Position of the round-robin cursor.
    #[must_use]
    pub const fn robin(&self) -> i64 {
        self.robin
    }

    /// The progress meter as of the last operation.
    #[must_use]
    pub const fn progress(&self) -> SeatSeconds {
        self.progress.r
    }

    /// How often the progress meter was wound back.
    #[must_use]
    pub const fn epochs(&self) -> u64 {
        self.progress.epochs[1] + self.progress.epochs[0]
    }

    /// Index of the queue of a request that is in one.
    #[must_use]
    pub fn queue_of(&self, id: RequestId) -> Option<u32> {
        let entry = self.entries.get(id)?;
        self.queues.get(entry.queue as usize)?.index
    }

    /// The estimate of a request as it is now: dispatch may have reshaped it to fit.
    #[must_use]
    pub fn work_of(&self, id: RequestId) -> Option<Work> {
        self.entries.get(id).map(|entry| entry.work)
    }

    /// The progress meter when a request arrived.
    #[must_use]
    pub fn arrival_r(&self, id: RequestId) -> Option<SeatSeconds> {
        self.entries.get(id).map(|entry| entry.arrival_r)
    }

    /// The requests that started since the last call, in order, with what waits for each.
    pub fn take_ready(&mut self) -> impl Iterator<Item = (RequestId, W)> + use<D, W> {
        std::mem::take(&mut self.ready).into_iter()
    }

    /// Whether a request executes.
    #[must_use]
    pub fn is_executing(&self, id: RequestId) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.stage == entries::Stage::Executing)
    }

    /// Whether a request of this width can execute now.
    #[must_use]
    pub const fn fits(&self, width: u32) -> bool {
        fits(self.config, self.totals, width)
    }

    fn ordered_queues(&self) -> impl Iterator<Item = &Queue> {
        self.ring.iter().map(|row| &self.queues[*row as usize])
    }
}

/// Whether a request of this width can execute beside what the totals say: one that is wider than
/// the limit must be alone, except for requests that linger.
#[must_use]
pub const fn fits(config: Config, totals: Totals, width: u32) -> bool {
    if config.queues < 0 {
        true
    } else if width > config.seats {
        totals.executing == 0
    } else {
        totals.seats_in_use.saturating_add(width) <= config.seats
    }
}

impl Reason {
    /// The reasons that metrics tell apart.
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::ConcurrencyLimit, Self::TimeOut];

    /// The word used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::TimeOut => "time-out",
            Self::ShuttingDown => "shutting-down",
        }
    }
}

impl Queue {
    const fn is_active(&self) -> bool {
        self.fifo.len > 0 || self.executing > 0
    }

    /// What it adds to the sum over active queues.
    const fn active_weight(&self) -> u32 {
        if self.is_active() { if self.weight == 0 { 1 } else { self.weight } } else { 0 }
    }

    const fn want(&self) -> u32 {
        self.seats_in_use + self.seats_waiting
    }
}
