//! Flow control for tokio: `acquire` a permit, hold it while the request executes, drop it.
//!
//! ```
//! use seaway_apf::control::FlowControl;
//! use seaway_apf::read::Configuration;
//! use seaway_apf::request::{Attributes, RequestInfo};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let control = FlowControl::new(Default::default());
//! control.configure(&Configuration::builtin());
//! let request = RequestInfo::parse("GET", "/api/v1/namespaces/shop/pods");
//! let attributes = Attributes { user: "ann".into(), groups: vec!["system:authenticated".into()], request };
//! match control.acquire(attributes).await {
//!     Ok(permit) => println!("{} executes", permit.names().schema),
//!     Err(refusal) => println!("come back in {} s", refusal.retry_after_s),
//! }
//! # });
//! ```

mod background;
mod permit;

pub use permit::Permit;

use crate::engine::{Admission, Digested, Engine, Refusal, Settings};
use crate::handoff::{Starter, handoff};
use crate::queueset::Reason;
use crate::read::Configuration;
use crate::readwrite::Phase;
use crate::request::Attributes;
use crate::wait;
use background::Lingering;
use permit::Waiting;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout_at};

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
    lingering: Lingering,
    default_wait: Duration,
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
            lingering: Lingering::default(),
            default_wait: Duration::from_nanos(wait::DEFAULT_NS),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Puts a configuration in force, with requests in flight.
    pub fn configure(&self, configuration: &Configuration) -> Digested {
        self.shared.engine.digest(self.now_ns(), configuration)
    }

    /// Waits for seats, at most as long as [`wait::DEFAULT_NS`] says.
    ///
    /// Dropping the future at any point gives back whatever it held.
    ///
    /// # Errors
    /// The request is refused, or waited too long.
    pub async fn acquire(&self, attributes: impl Into<Arc<Attributes>>) -> Result<Permit, Refusal> {
        self.acquire_until(attributes, None).await
    }

    /// As [`FlowControl::acquire`], with a deadline for the wait; see [`wait::deadline_ns`].
    ///
    /// # Errors
    /// The request is refused, or waited too long.
    pub async fn acquire_until(
        &self,
        attributes: impl Into<Arc<Attributes>>,
        deadline: Option<Instant>,
    ) -> Result<Permit, Refusal> {
        let attributes = attributes.into();
        let is_read = attributes.request.is_read_only();
        let now = Instant::now();
        let now_ns = self.at_ns(now);
        let mut started = None;
        let admission = self.shared.engine.arrive(now_ns, &attributes, || {
            let (starter, waits) = handoff();
            started = Some(waits);
            starter
        });
        let ticket = match admission {
            Admission::Accepted(ticket) => ticket,
            Admission::Refused(refusal) => return Err(refusal),
        };
        let Some(started) = started else {
            self.shared.enter(now_ns, Phase::Executing, is_read);
            return Ok(Permit::new(Arc::clone(&self.shared), ticket, is_read));
        };
        self.shared.enter(now_ns, Phase::Waiting, is_read);
        let waiting = Waiting::new(Arc::clone(&self.shared), ticket, is_read);
        let deadline = deadline.unwrap_or_else(|| now + self.shared.default_wait);
        match timeout_at(deadline, started).await {
            Ok(()) => Ok(waiting.started()),
            Err(_) => waiting
                .give_up()
                .map_err(|route| route.refusal(Reason::TimeOut, self.shared.engine.settings().behaviour)),
        }
    }

    /// The engine, for metrics, dumps and explanations.
    #[must_use]
    pub fn engine(&self) -> &Engine<Starter> {
        &self.shared.engine
    }

    /// Now, in nanoseconds since 1970, on a clock that does not go back.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.at_ns(Instant::now())
    }

    /// Shares out seats every ten seconds and releases those that linger. Runs until dropped: spawn it
    /// once. Without it everything else works, but no level borrows and lingering seats stay taken.
    pub async fn run(&self) {
        background::run(&self.shared).await;
    }

    fn at_ns(&self, at: Instant) -> u64 {
        self.shared.at_ns(at)
    }
}

impl Shared {
    fn at_ns(&self, at: Instant) -> u64 {
        let since = u64::try_from(at.duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        self.origin_unix_ns.saturating_add(since)
    }

    fn enter(&self, now_ns: u64, phase: Phase, is_read: bool) {
        self.engine.in_flight.lock().enter(now_ns, phase, is_read);
    }

    fn leave(&self, now_ns: u64, phase: Phase, is_read: bool) {
        self.engine.in_flight.lock().leave(now_ns, phase, is_read);
    }
}
