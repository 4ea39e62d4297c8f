//! A child process that does not outlive its handle.

use std::{
    io,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::Error;

const POLL_EVERY: Duration = Duration::from_millis(5);

/// A child process; it is killed and reaped on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    what: String,
}

impl Process {
    pub(crate) fn new(child: Child, what: String) -> Self {
        Self { child, what }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child's standard input, the first time it is asked for, if it was piped.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The child's standard output, the first time it is asked for, if it was piped.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The child's standard error, the first time it is asked for, if it was piped.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Asks the process to end (SIGTERM). A process that ended already is no error.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn terminate(&mut self) -> Result<(), Error> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).map_err(io::Error::other);
        pid.and_then(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(io::Error::from))
            .map_err(Error::system(format!("terminate {}", self.what)))
    }

    /// Ends the process at once (SIGKILL) and reaps it.
    ///
    /// # Errors
    /// When it cannot be killed or waited for.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map_err(Error::system(format!("kill {}", self.what)))
    }

    /// How the process ended, if it did.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(Error::system(format!("look after {}", self.what)))
    }

    /// Waits until the process ends, at most for `limit`.
    ///
    /// # Errors
    /// [`Error::Deadline`] when it is still running then.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(Error::Deadline {
                    what: format!("the end of {}", self.what),
                    waited_ms: limit.as_millis(),
                    context: String::new(),
                });
            }
            thread::sleep(POLL_EVERY);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only for a child that was reaped already.
        self.kill().ok();
    }
}
