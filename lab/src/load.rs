//! HTTP load from a worker process, watched while it runs.
//!
//! A run has phases. All but the last end when the parent calls [`Load::mark`]; the last ends by
//! itself after its requests. A request belongs to the phase in which it was started, so what is
//! true from some moment on is true of every request of the phase marked after it.

mod meter;
mod requests;

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{ChildStdin, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{Error, Job, Launcher, Namespace, Process, Task};

pub(crate) use requests::run;

const MARK: &str = "mark";

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Where to; servers are those of [`crate::http`].
    pub target: SocketAddr,
    /// How many requests are under way at once.
    pub concurrency: usize,
    /// How many phases end by a mark before the last.
    pub marks: usize,
    /// How many requests the last phase has.
    pub requests: u64,
    /// At most this many requests a second.
    pub rate_per_s: Option<u64>,
    /// Sends all requests of one slot on one connection instead of a new one each.
    pub keep_alive: bool,
    /// A request that is not answered within this time has failed.
    pub timeout_ms: u64,
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// One for each phase, running ones included.
    pub phases: Vec<Tally>,
    /// Nothing is under way any more and nothing will be.
    pub finished: bool,
}

/// What became of the requests of one phase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Requests that ended, one way or the other.
    pub requests: u64,
    /// Requests without a good answer.
    pub failed: u64,
    /// The failed ones by reason.
    pub failures: BTreeMap<String, u64>,
    /// The answered ones by the address the server says it has.
    pub endpoints: BTreeMap<SocketAddr, EndpointTally>,
    /// Median of the answered requests, from connecting to the end of the answer.
    pub p50_us: u64,
    /// Their 99th percentile.
    pub p99_us: u64,
}

/// What one endpoint answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointTally {
    /// Requests answered.
    pub requests: u64,
    /// Median.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
}

impl Plan {
    /// `requests` requests to `target` in one phase, 8 at a time, a new connection each.
    #[must_use]
    pub fn new(target: SocketAddr, requests: u64) -> Self {
        let (concurrency, timeout_ms) = (8, 5000);
        Self { target, concurrency, marks: 0, requests, rate_per_s: None, keep_alive: false, timeout_ms }
    }
}

/// A run in a process of its own.
#[derive(Debug)]
pub struct Load {
    process: Process,
    control: ChildStdin,
    latest: Arc<Mutex<Progress>>,
}

impl Load {
    /// Starts sending from `namespace`, from inside `cgroup` if given.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(
        namespace: &Namespace,
        launcher: &Launcher,
        cgroup: Option<&Path>,
        plan: &Plan,
    ) -> Result<Self, Error> {
        let mut command = launcher.command(&Job::new(Task::Load(plan.clone())).cgroup(cgroup))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = namespace.spawn(command)?;
        let pipes = process.stdin().zip(process.stdout()).ok_or(io::ErrorKind::BrokenPipe);
        let (control, reports) = pipes.map_err(Error::system("talk to the load process"))?;
        let latest = Arc::new(Mutex::new(Progress::default()));
        let follow = {
            let latest = Arc::clone(&latest);
            move || {
                for line in BufReader::new(reports).lines().map_while(Result::ok) {
                    if let Ok(progress) = serde_json::from_str(&line) {
                        *latest.lock().unwrap_or_else(PoisonError::into_inner) = progress;
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("load-reports".into()).spawn(follow);
        thread.map_err(Error::system("follow the load process"))?;
        Ok(Self { process, control, latest })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends the current phase: requests started from now on belong to the next.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn mark(&mut self) -> Result<(), Error> {
        writeln!(self.control, "{MARK}").map_err(Error::system("talk to the load process"))
    }

    /// The last report, at most 100 ms old.
    ///
    /// # Errors
    /// [`Error::Ended`] when the process ended without finishing.
    pub fn progress(&mut self) -> Result<Progress, Error> {
        let ended = self.process.try_wait()?;
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match ended {
            // The last report may still be on its way from the pipe to the thread that reads it.
            Some(status) if !status.success() && !latest.finished => Err(Error::Ended {
                what: "the load process".into(),
                status: status.to_string(),
                context: String::new(),
            }),
            _ => Ok(latest),
        }
    }

    /// Waits for the end of the run, at most for `limit`.
    ///
    /// # Errors
    /// [`Error::Deadline`] when it takes longer, [`Error::Ended`] when it ends otherwise.
    pub fn wait(mut self, limit: Duration) -> Result<Progress, Error> {
        let deadline = std::time::Instant::now() + limit;
        loop {
            let progress = self.progress()?;
            if progress.finished {
                return Ok(progress);
            }
            if std::time::Instant::now() >= deadline {
                let context = format!("; so far: {progress:?}");
                let waited_ms = limit.as_millis();
                return Err(Error::Deadline { what: "the end of the load".into(), waited_ms, context });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
