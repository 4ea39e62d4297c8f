//! A total of seats that follows the server: as many requests at once as it gains from, and no more.
//!
//! ```
//! use seaway_apf::Settings;
//! use seaway_apf::adaptive::Adaptive;
//!
//! let settings = Settings::default().seats(50).adaptive(Adaptive::vegas().between(10, 500));
//! # let _ = settings;
//! ```
//!
//! Every permit measures how long its request executed and how many seats were taken meanwhile. At the
//! end of a window the algorithm sets the seats of the whole server, which the levels share as always.
//!
//! | algorithm | raises the total while | lowers it when |
//! |---|---|---|
//! | [`Adaptive::vegas`] | requests take as long as on an idle server | a queue builds up in the server |
//! | [`Adaptive::gradient2`] | recent requests take about as long as those of a longer past | they take longer than that |
//! | [`Adaptive::aimd`] | requests take less than a given time | they take longer |
//!
//! All raise it only while at least half of it is used. The mix of requests should stay the same over some
//! seconds: an algorithm cannot tell a slow request from a slow server.

mod aimd;
mod gradient2;
mod vegas;
mod window;

use aimd::Aimd;
use gradient2::Gradient2;
use std::time::Duration;
use vegas::Vegas;
pub use window::Sample;
use window::Window;

/// Shortest window, unless said otherwise.
const WINDOW: Duration = Duration::from_millis(100);

/// How the total of seats follows the server.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Adaptive {
    /// How the next total is found.
    pub algorithm: Algorithm,
    /// Fewest seats.
    pub min: u32,
    /// Most seats.
    pub max: u32,
    /// How much of a step is taken at once, from 0 to 1.
    pub smoothing: f64,
    /// Shortest time between two steps. A window also lasts for ten requests.
    pub window: Duration,
}

/// How the next total is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// From the queue in the server, as TCP Vegas does.
    Vegas,
    /// From the ratio of a long and a short mean of execution times, as Netflix's Gradient2 does.
    Gradient2,
    /// One more, or a tenth less.
    Aimd {
        /// How long a request may execute.
        max_latency: Duration,
    },
}

/// The state of a total that follows the server: samples in, totals out. [`FlowControl`](crate::FlowControl)
/// drives one by itself; with an [`Engine`](crate::engine::Engine), call
/// [`Engine::set_seats`](crate::engine::Engine::set_seats) with what [`Total::sample`] returns.
#[derive(Clone, Debug)]
pub struct Total {
    config: Adaptive,
    algorithm: State,
    window: Window,
    seats: f64,
}

#[derive(Clone, Debug)]
enum State {
    Vegas(Vegas),
    Gradient2(Gradient2),
    Aimd(Aimd),
}

/// What a window of samples says.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Mean execution time.
    latency_ns: f64,
    /// Most seats taken at once.
    in_use: f64,
    /// When the window ended.
    now_ns: u64,
}

impl Adaptive {
    /// Follows the queue in the server; a good choice for most.
    #[must_use]
    pub const fn vegas() -> Self {
        Self::new(Algorithm::Vegas, 1.0)
    }

    /// Follows the ratio of long and short means; for execution times that vary much, and servers that have
    /// quiet times.
    #[must_use]
    pub const fn gradient2() -> Self {
        Self::new(Algorithm::Gradient2, 0.2)
    }

    /// Keeps execution times below a limit of the caller's.
    #[must_use]
    pub const fn aimd(max_latency: Duration) -> Self {
        Self::new(Algorithm::Aimd { max_latency }, 1.0)
    }

    const fn new(algorithm: Algorithm, smoothing: f64) -> Self {
        Self { algorithm, min: 4, max: 1000, smoothing, window: WINDOW }
    }

    /// With these bounds.
    #[must_use]
    pub const fn between(self, min: u32, max: u32) -> Self {
        Self { min, max, ..self }
    }

    /// With steps of this part, from 0 to 1.
    #[must_use]
    pub const fn smoothing(self, smoothing: f64) -> Self {
        Self { smoothing, ..self }
    }

    /// With windows that last at least this long.
    #[must_use]
    pub const fn window(self, window: Duration) -> Self {
        Self { window, ..self }
    }
}

impl Total {
    /// Starts with this many seats.
    #[must_use]
    pub fn new(config: Adaptive, seats: u32) -> Self {
        let algorithm = match config.algorithm {
            Algorithm::Vegas => State::Vegas(Vegas::default()),
            Algorithm::Gradient2 => State::Gradient2(Gradient2::default()),
            Algorithm::Aimd { max_latency } => State::Aimd(Aimd::new(max_latency)),
        };
        let mut total = Self { config, algorithm, window: Window::default(), seats: 0.0 };
        total.seats = total.bounded(f64::from(seats));
        total
    }

    /// The total now.
    #[must_use]
    pub fn seats(&self) -> u32 {
        crate::number::round_seats(self.seats)
    }

    /// Takes in a request that ended; returns a total that is new.
    pub fn sample(&mut self, sample: Sample) -> Option<u32> {
        let measured = self.window.add(sample, self.config.window)?;
        let before = self.seats();
        let (next, at_once) = match &mut self.algorithm {
            State::Vegas(vegas) => vegas.next(self.seats, measured),
            State::Gradient2(gradient) => (gradient.next(self.seats, measured), false),
            State::Aimd(aimd) => (aimd.next(self.seats, measured), false),
        };
        let part = if at_once { 1.0 } else { self.config.smoothing.clamp(0.0, 1.0) };
        self.seats = self.bounded(self.seats + (next - self.seats) * part);
        Some(self.seats()).filter(|seats| *seats != before)
    }

    fn bounded(&self, seats: f64) -> f64 {
        let min = f64::from(self.config.min.max(1));
        seats.clamp(min, f64::from(self.config.max).max(min))
    }
}
