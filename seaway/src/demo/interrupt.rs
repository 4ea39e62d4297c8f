//! Ctrl-C and its relatives, as a flag that every wait of the demo looks at.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

const POLL_EVERY: Duration = Duration::from_millis(10);

/// Whether somebody wants the demo to end.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    arrived: Arc<AtomicBool>,
}

/// Somebody wants the demo to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGHUP end the demo in order instead of at once.
    pub(super) fn install() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.context("cannot start a runtime for signals")?;
        let signals = {
            let _inside = runtime.enter();
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            kinds.map(signal).into_iter().collect::<Result<Vec<_>, _>>().context("cannot handle signals")?
        };
        let arrived = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&arrived);
        let listen = move || {
            for mut signal in signals {
                let flag = Arc::clone(&flag);
                runtime.spawn(async move {
                    signal.recv().await;
                    flag.store(true, Ordering::Relaxed);
                });
            }
            runtime.block_on(std::future::pending::<()>());
        };
        thread::Builder::new().name("signals".into()).spawn(listen).context("cannot listen for signals")?;
        Ok(Self { arrived })
    }

    /// An error if a signal arrived.
    pub(super) fn check(&self) -> Result<(), Interrupted> {
        if self.arrived.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }

    /// Polls until `probe` finds something; its errors and a signal end the wait.
    pub(super) fn wait<T>(&self, mut probe: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
        loop {
            self.check()?;
            match probe()? {
                Some(found) => return Ok(found),
                None => thread::sleep(POLL_EVERY),
            }
        }
    }
}
