//! Echo servers in a process of their own, for hooks that tell processes apart by their cgroup.

use std::{
    io::{self, BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use super::{Listener, READY};
use crate::{Error, Job, Launcher, Namespace, Process, Task};

/// Running echo servers; they end on drop.
#[derive(Debug)]
pub struct EchoProcess {
    process: Process,
}

impl EchoProcess {
    /// Serves all `listeners` in `namespace`, in `cgroup` if given, and returns once they answer.
    ///
    /// # Errors
    /// When the process cannot be started or an address cannot be bound; the process says which on
    /// standard error.
    pub fn start(
        namespace: &Namespace,
        launcher: &Launcher,
        cgroup: Option<&Path>,
        listeners: &[Listener],
    ) -> Result<Self, Error> {
        let job = Job::new(Task::Echo(listeners.to_vec())).cgroup(cgroup);
        let mut command = launcher.command(&job)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = namespace.spawn(command)?;
        let mut line = String::new();
        let said = process.stdout().ok_or(io::ErrorKind::BrokenPipe.into());
        let said = said.and_then(|output| BufReader::new(output).read_line(&mut line));
        said.map_err(Error::system(format!("wait for the echo servers in {}", namespace.name())))?;
        if line.trim_end() != READY {
            let status = process.kill()?.to_string();
            let what = format!("the echo process in {}", namespace.name());
            return Err(Error::Ended { what, status, context: String::new() });
        }
        Ok(Self { process })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}
