//! A `seaway agent` in a namespace: started, fed with manifests, watched, ended.

mod options;

use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{ChildStderr, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

pub use options::{AgentOptions, AgentStatus};

use crate::{Error, Job, Launcher, Namespace, Process, Task};

/// How many lines of the agent's log are kept for messages.
const LOG_LINES_MAX: usize = 2000;
/// How many of them an error shows.
const LOG_LINES_SHOWN: usize = 20;
const POLL_EVERY: Duration = Duration::from_millis(10);

/// A running agent; it is killed on drop, which leaves its programs in place.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    options: AgentOptions,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Agent {
    /// Starts an agent in `namespace`. The launcher's program is the agent's.
    ///
    /// # Errors
    /// When it cannot be started; that it is not ready yet is no error.
    pub fn start(namespace: &Namespace, launcher: &Launcher, options: AgentOptions) -> Result<Self, Error> {
        let task = Task::Run { program: launcher.program().to_owned(), arguments: options.to_arguments() };
        let mut command = launcher.command(&Job::new(task))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = namespace.spawn(command)?;
        let log = Arc::default();
        if let Some(stderr) = process.stderr() {
            let log = Arc::clone(&log);
            let collect = move || collect(stderr, &log);
            let thread = thread::Builder::new().name("agent-log".into()).spawn(collect);
            thread.map_err(Error::system("follow the agent's log"))?;
        }
        Ok(Self { process, options, log })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The agent's last status; none before it wrote one.
    ///
    /// # Errors
    /// [`Error::Ended`] with the end of its log when the agent is gone.
    pub fn status(&mut self) -> Result<Option<AgentStatus>, Error> {
        if let Some(status) = self.process.try_wait()? {
            let (what, status) = ("the agent".into(), status.to_string());
            return Err(Error::Ended { what, status, context: self.log_end() });
        }
        // It is replaced by a rename: what is there is complete. One of an earlier agent does not count.
        let text = fs::read_to_string(self.options.run_dir.join("status.json")).unwrap_or_default();
        let status: Option<AgentStatus> = serde_json::from_str(&text).ok();
        Ok(status.filter(|status| status.pid == self.id()))
    }

    /// Waits until the agent is ready, at most for `limit`.
    ///
    /// # Errors
    /// [`Error::Deadline`] or [`Error::Ended`], with the end of its log.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<AgentStatus, Error> {
        self.wait("the agent's readiness", limit, |status| status.ready)
    }

    /// Waits until the agent's status satisfies `condition`, at most for `limit`.
    ///
    /// # Errors
    /// [`Error::Deadline`] or [`Error::Ended`], with the end of its log.
    pub fn wait(
        &mut self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&AgentStatus) -> bool,
    ) -> Result<AgentStatus, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status()?;
            if let Some(status) = status.filter(&condition) {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let (what, waited_ms) = (what.to_owned(), limit.as_millis());
                return Err(Error::Deadline { what, waited_ms, context: self.log_end() });
            }
            thread::sleep(POLL_EVERY);
        }
    }

    /// Writes a manifest (see [`write_manifest`](Self::write_manifest)) and waits until a later
    /// revision is in force. The text has to change some fact, otherwise there is no revision to
    /// wait for.
    ///
    /// # Errors
    /// When the file cannot be written, and as [`wait`](Self::wait).
    pub fn apply(&mut self, name: &str, text: &str, limit: Duration) -> Result<AgentStatus, Error> {
        let before = self.status()?.map_or(0, |status| status.revision);
        self.write_manifest(name, text)?;
        let what = format!("the agent's revision after {before}, with a new {name},");
        self.wait(&what, limit, |status| status.ready && status.revision > before)
    }

    /// Writes a file of the manifest folder at once: it is never seen half-written.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_manifest(&self, name: &str, text: &str) -> Result<(), Error> {
        write_whole(&self.options.manifests.join(name), text)
    }

    /// Asks the agent to end and waits for it, at most for `limit`.
    ///
    /// # Errors
    /// [`Error::Deadline`] when it is still running then.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        self.process.terminate()?;
        self.process.wait(limit)
    }

    /// Ends the agent at once, as a crash would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        self.process.kill()
    }

    /// What the agent wrote to standard error, the last 2000 lines.
    #[must_use]
    pub fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    fn log_end(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from("; the end of its log:");
        for line in log.iter().skip(log.len().saturating_sub(LOG_LINES_SHOWN)) {
            // Writing to a string does not fail.
            write!(text, "\n  {line}").ok();
        }
        if log.is_empty() { String::new() } else { text }
    }
}

/// Replaces `path` by a file written beside its folder, on the same file system and out of sight
/// of whoever watches the folder.
fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let beside = path.parent().and_then(Path::parent).unwrap_or_else(|| Path::new("/"));
    let written = tempfile::NamedTempFile::new_in(beside).and_then(|file| {
        fs::write(file.path(), text)?;
        file.persist(path).map_err(|error| error.error)
    });
    written.map(drop).map_err(Error::system(format!("write {}", path.display())))
}

fn collect(stderr: ChildStderr, log: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES_MAX {
            log.pop_front();
        }
        log.push_back(line);
    }
}
