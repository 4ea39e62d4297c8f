//! Flow control for tokio: `acquire` a permit, hold it while the request executes, drop it.
//!
//! ```
//! use seaway_apf::{Attributes, Configuration, FlowControl, RequestInfo, Settings};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let control = FlowControl::new(Settings::default().seats(20));
//! control.configure(&Configuration::by_user());
//! let ann = Attributes::user("ann").asks(RequestInfo::parse("GET", "/reports/7"));
//! match control.acquire(ann).await {
//!     Ok(permit) => println!("{} executes", permit.names().schema),
//!     Err(refusal) => println!("come back in {} s", refusal.retry_after_s),
//! }
//! # });
//! ```
//!
//! # In the background
//!
//! Every ten seconds levels lend and borrow seats, and seats of requests whose effects linger are
//! released when their time is over. A task does that; it starts by itself with the first request and
//! ends with the last clone of the [`FlowControl`].
//!
//! # Shutting down
//!
//! [`FlowControl::shut_down`] refuses everybody who waits or arrives; [`FlowControl::drained`] returns
//! when the last permit is dropped.

mod background;
mod drain;
mod follow;
mod permit;
mod terms;
#[cfg(feature = "tracing")]
mod trace;

pub use permit::Permit;
pub use terms::Terms;

use crate::engine::{Admission, Digested, Engine, Ticket};
use crate::handoff::{Answer, Signal, Starter, handoff};
use crate::queueset::Reason;
use crate::read::Configuration;
use crate::readwrite::Phase;
use crate::refusal::Refusal;
use crate::request::Attributes;
use crate::settings::Settings;
use crate::wait;
use background::Background;
use drain::Drain;
use follow::Follow;
use permit::Waiting;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout_at};

/// The longest wait that clocks can take: a year.
const PATIENCE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Flow control for tokio. Clones share everything.
#[derive(Clone, Debug)]
pub struct FlowControl {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Engine<Starter>,
    origin: Instant,
    origin_unix_ns: u64,
    background: Arc<Background>,
    drain: Drain,
    follow: Option<Follow>,
}

impl FlowControl {
    /// Flow control with the mandatory objects only, until [`FlowControl::configure`] is called.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let origin_unix_ns = u64::try_from(unix.as_nanos()).unwrap_or_default();
        let shared = Shared {
            engine: Engine::new(settings, origin_unix_ns),
            origin: Instant::now(),
            origin_unix_ns,
            background: Arc::default(),
            drain: Drain::default(),
            follow: Follow::new(&settings),
        };
        let total = shared.follow.as_ref().map(Follow::seats);
        if let Some(seats) = total {
            shared.engine.set_seats(origin_unix_ns, seats);
        }
        Self { shared: Arc::new(shared) }
    }

    /// Applies a configuration, with requests in flight.
    pub fn configure(&self, configuration: &Configuration) -> Digested {
        self.shared.engine.digest(self.now_ns(), configuration)
    }

    /// Sets the seats of the whole server. All levels get their share of them at once; requests that
    /// execute keep the seats they have. With [`Settings::adaptive`] the next window sets them again.
    pub fn set_seats(&self, seats: u32) {
        self.shared.engine.set_seats(self.now_ns(), seats);
    }

    /// Waits for seats, at most as long as the level or [`Settings::max_wait`] say.
    ///
    /// Dropping the future at any point gives back whatever it held.
    ///
    /// # Errors
    /// The request is refused, or waited too long.
    pub async fn acquire(&self, attributes: impl Into<Arc<Attributes>>) -> Result<Permit, Refusal> {
        self.acquire_with(attributes, Terms::default()).await
    }

    /// As [`FlowControl::acquire`], with a cost, a weight, or a longest wait of the caller's.
    ///
    /// # Errors
    /// The request is refused, or waited too long.
    pub async fn acquire_with(
        &self,
        attributes: impl Into<Arc<Attributes>>,
        terms: impl Into<Terms>,
    ) -> Result<Permit, Refusal> {
        let (attributes, now) = (attributes.into(), Instant::now());
        let outcome = self.admit(&attributes, terms.into(), now).await;
        #[cfg(feature = "tracing")]
        trace::outcome(&attributes, &outcome, now);
        outcome
    }

    async fn admit(
        &self,
        attributes: &Arc<Attributes>,
        terms: Terms,
        now: Instant,
    ) -> Result<Permit, Refusal> {
        let shared = &self.shared;
        shared.background.start(shared);
        let is_read = attributes.request.is_read_only();
        let now_ns = shared.at_ns(now);
        if shared.drain.is_closed() {
            return Err(shared.engine.refusal(attributes, Reason::ShuttingDown));
        }
        let mut answer = None;
        let admission = shared.engine.arrive_weighted(now_ns, attributes, terms.cost, terms.weight, || {
            let (starter, waits) = handoff();
            answer = Some(waits);
            starter
        });
        let ticket = match admission {
            Admission::Accepted(ticket) => ticket,
            Admission::Refused(refusal) => return Err(refusal),
            Admission::Untracked(names) => return Ok(Permit::untracked(names, terms.cost)),
        };
        let Some(answer) = answer.filter(|_| !ticket.route.level().is_shadow()) else {
            shared.enter(now_ns, Phase::Executing, is_read);
            return Ok(Permit::new(Arc::clone(shared), ticket, is_read, now_ns));
        };
        shared.enter(now_ns, Phase::Waiting, is_read);
        let patience = shared.patience(&ticket, &terms, now).min(PATIENCE_MAX);
        let waiting = Waiting::new(Arc::clone(shared), ticket, is_read);
        self.wait(waiting, answer, now + patience).await
    }

    /// Refuses all requests that wait and all that arrive from now on, with [`Reason::ShuttingDown`].
    /// Requests that execute go on.
    pub fn shut_down(&self) {
        self.shared.drain.close();
        self.shared.engine.refuse_waiting(self.now_ns());
        self.shared.drain.left();
    }

    /// Waits until no request executes any more. Only of use after [`FlowControl::shut_down`].
    pub async fn drained(&self) {
        self.shared.drain.wait(|| self.shared.engine.is_idle()).await;
    }

    /// The engine, for metrics, dumps and explanations.
    #[must_use]
    pub fn engine(&self) -> &Engine<Starter> {
        &self.shared.engine
    }

    /// All metrics as Prometheus text.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.shared.engine.metrics(self.now_ns()).text()
    }

    /// Now, in nanoseconds since 1970, on a clock that does not go back.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.shared.at_ns(Instant::now())
    }

    async fn wait(&self, waiting: Waiting, answer: Answer, until: Instant) -> Result<Permit, Refusal> {
        let behaviour = self.shared.engine.settings().behaviour;
        // Who arrived after the queues were cleared sees here that they were.
        if self.shared.drain.is_closed() {
            return waiting
                .give_up(Reason::ShuttingDown)
                .map_err(|(route, reason)| route.refusal(reason, behaviour));
        }
        match timeout_at(until, answer).await {
            Ok(Signal::Started) => Ok(waiting.started()),
            Ok(Signal::Refused) => Err(waiting.refused().refusal(Reason::ShuttingDown, behaviour)),
            Err(_) => {
                waiting.give_up(Reason::TimeOut).map_err(|(route, reason)| route.refusal(reason, behaviour))
            }
        }
    }
}

impl Shared {
    fn at_ns(&self, at: Instant) -> u64 {
        let since = u64::try_from(at.duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        self.origin_unix_ns.saturating_add(since)
    }

    /// How long a request may wait from now on.
    fn patience(&self, ticket: &Ticket<Starter>, terms: &Terms, now: Instant) -> Duration {
        let now = now.into_std();
        let waited = terms.received.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if let Some(wait) = terms.max_wait {
            return wait.saturating_sub(waited);
        }
        let own = ticket.route.level().max_wait();
        let wait = match terms.deadline {
            Some(deadline) => {
                let all = deadline.saturating_duration_since(now) + waited;
                let all_ns = u64::try_from(all.as_nanos()).unwrap_or(u64::MAX);
                let part = Duration::from_nanos(wait::deadline_ns(0, None, Some(all_ns), 0));
                own.map_or(part, |own| own.min(part))
            }
            None => own.unwrap_or(self.engine.settings().max_wait),
        };
        wait.saturating_sub(waited)
    }

    fn enter(&self, now_ns: u64, phase: Phase, is_read: bool) {
        self.engine.in_flight.lock().enter(now_ns, phase, is_read);
    }

    fn leave(&self, now_ns: u64, phase: Phase, is_read: bool) {
        self.engine.in_flight.lock().leave(now_ns, phase, is_read);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.background.wake();
    }
}
