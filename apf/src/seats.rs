//! Seat-second arithmetic: u64 fixed point with 10^8 units, signed steps stored modulo 2^64.

use crate::number;
use std::fmt;

/// Units of one seat-second.
pub const SCALE: u64 = 100_000_000;
/// Assumed service time of a request before it is known, in nanoseconds.
pub const GUESS_NS: u64 = 3_000_000;

/// An amount of work, or a position of the progress meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatSeconds(pub u64);

impl SeatSeconds {
    /// Work of some seats during some nanoseconds, rounded half away from zero.
    #[must_use]
    pub fn of(seats: f64, ns: f64) -> Self {
        Self(number::round(seats * ns / 10.0).cast_unsigned())
    }

    /// Work of whole seats during a span in nanoseconds.
    #[must_use]
    pub fn of_seats(seats: u32, ns: u64) -> Self {
        Self::of(f64::from(seats), number::float(ns))
    }

    /// Nanoseconds that this work takes on some seats, truncated; 0 on no seats.
    #[must_use]
    pub fn per_seat_ns(self, seats: u32) -> u64 {
        if seats == 0 { 0 } else { number::truncate(number::float(self.0) / f64::from(seats) * 10.0) }
    }

    /// Sum modulo 2^64, so that negative steps work.
    #[must_use]
    pub const fn plus(self, step: Self) -> Self {
        Self(self.0.wrapping_add(step.0))
    }

    /// Difference modulo 2^64.
    #[must_use]
    pub const fn minus(self, step: Self) -> Self {
        Self(self.0.wrapping_sub(step.0))
    }

    /// As a number of seat-seconds.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        number::float(self.0) / number::float(SCALE)
    }
}

impl fmt::Display for SeatSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08}ss", self.0 / SCALE, self.0 % SCALE)
    }
}

/// What a request is expected to cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Seats while it executes.
    pub initial_seats: u32,
    /// Seats while its effects linger after the reply.
    pub final_seats: u32,
    /// How long they linger, in nanoseconds.
    pub linger_ns: u64,
}

impl From<u32> for Work {
    fn from(seats: u32) -> Self {
        Self::seats(seats)
    }
}

impl Work {
    /// Work of a number of seats without lingering.
    #[must_use]
    pub const fn seats(initial_seats: u32) -> Self {
        Self { initial_seats, final_seats: 0, linger_ns: 0 }
    }

    /// Seats held from start to release.
    #[must_use]
    pub const fn width(self) -> u32 {
        if self.initial_seats > self.final_seats { self.initial_seats } else { self.final_seats }
    }

    /// Work of the lingering part.
    #[must_use]
    pub fn final_work(self) -> SeatSeconds {
        SeatSeconds::of_seats(self.final_seats, self.linger_ns)
    }

    /// All of it, with the execution time guessed.
    #[must_use]
    pub fn total(self) -> SeatSeconds {
        SeatSeconds::of_seats(self.initial_seats, GUESS_NS).plus(self.final_work())
    }
}
