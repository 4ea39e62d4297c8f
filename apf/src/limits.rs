//! From shares to seats: what each level owns, keeps and may take.

use crate::defaults;
use crate::number;
use crate::object::{PriorityLevelSpec, Queuing};
use crate::queueset;

/// Seats of the server when nothing else is said: reads and writes in flight.
pub const SEATS_READING: u32 = 400;
/// As [`SEATS_READING`], for requests that change something.
pub const SEATS_MUTATING: u32 = 200;
/// Part of a level's nominal seats that one request may take.
pub const MAX_SEATS_PART: f64 = 0.15;

/// Limits of a level in seats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// What its shares are worth.
    pub nominal: u32,
    /// What it keeps however much others want.
    pub min: u32,
    /// What it may take however little others want.
    pub max: u32,
}

/// A level's wishes, with defaults applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Whether requests always execute at once.
    pub exempt: bool,
    /// Shares of the server's seats.
    pub shares: u32,
    /// Percent of its nominal seats that others may borrow.
    pub lendable_percent: u32,
    /// Most to borrow, as percent of its nominal seats.
    pub borrowing_limit_percent: Option<u32>,
    /// Its queues; `None` for a level that refuses instead.
    pub queues: Option<(i32, i32, i32)>,
}

impl Wishes {
    /// What a level's spec asks for; `None` if its union is broken.
    #[must_use]
    pub fn of(spec: &PriorityLevelSpec) -> Option<Self> {
        let positive =
            |value: Option<i32>, default: i32| u32::try_from(value.unwrap_or(default)).unwrap_or(0);
        match (spec.kind.as_str(), &spec.limited, &spec.exempt) {
            ("Exempt", None, exempt) => Some(Self {
                exempt: true,
                shares: positive(exempt.as_ref().and_then(|e| e.nominal_concurrency_shares), 0),
                lendable_percent: positive(exempt.as_ref().and_then(|e| e.lendable_percent), 0),
                ..Self::default()
            }),
            ("Limited", Some(limited), None) => {
                let queues = match (limited.limit_response.kind.as_str(), &limited.limit_response.queuing) {
                    ("Queue", Some(Queuing { queues, hand_size, queue_length_limit })) => {
                        Some((*queues, *hand_size, *queue_length_limit))
                    }
                    ("Reject", None) => None,
                    _ => return None,
                };
                Some(Self {
                    exempt: false,
                    shares: positive(limited.nominal_concurrency_shares, defaults::SHARES),
                    lendable_percent: positive(limited.lendable_percent, defaults::LENDABLE_PERCENT),
                    borrowing_limit_percent: limited
                        .borrowing_limit_percent
                        .map(|percent| u32::try_from(percent).unwrap_or(0)),
                    queues,
                })
            }
            _ => None,
        }
    }

    /// The limits when all levels together have `share_sum` shares of `server_seats`.
    #[must_use]
    pub fn limits(&self, server_seats: u32, share_sum: u64) -> Limits {
        let seats = f64::from(server_seats);
        let nominal = number::ceil_seats(seats * f64::from(self.shares) / number::float(share_sum.max(1)));
        let part = |percent: u32| number::round_seats(f64::from(nominal) * f64::from(percent) / 100.0);
        let borrowing = self.borrowing_limit_percent.filter(|_| !self.exempt).map_or(server_seats, part);
        Limits {
            nominal,
            min: nominal.saturating_sub(part(self.lendable_percent)),
            max: nominal.saturating_add(borrowing),
        }
    }

    /// Most seats that one request of the level may take; 0 if the level does not queue.
    #[must_use]
    pub fn max_seats(&self, nominal: u32) -> u32 {
        let Some((_, hand, _)) = self.queues else { return 0 };
        let part = number::ceil_seats(MAX_SEATS_PART * f64::from(nominal));
        part.min(nominal / u32::try_from(hand).unwrap_or(1).max(1)).max(1)
    }

    /// The shape of the level's queue set.
    #[must_use]
    pub fn shape(&self, seats: u32) -> queueset::Config {
        let (queues, hand_size, length) = match (self.exempt, self.queues) {
            (true, _) => (-1, 0, 0),
            (false, None) => (0, 0, 0),
            (false, Some(queues)) => queues,
        };
        let queue_length_limit = u32::try_from(length).unwrap_or(0);
        queueset::Config { queues, hand_size, queue_length_limit, seats }
    }
}
