//! Programs that are put into their place before they open a socket.
//!
//! Safe Rust offers no step between fork and exec, so a worker is a second start of a program that
//! hands its first argument after the launcher's own to [`run_worker`]. That joins the cgroup, asks
//! the kernel to be killed when the namespace that started it goes, and does its task; a foreign
//! program takes the worker's place by exec and inherits both.

use std::{
    ffi::OsString,
    fs,
    os::unix::process::{CommandExt, parent_id},
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::{prctl, signal::Signal};
use serde::{Deserialize, Serialize};

use crate::{Error, echo, load, probe};

/// The program that runs workers, and its arguments before the job: `seaway worker JOB`.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// What a worker does, and where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    parent: u32,
    cgroup: Option<PathBuf>,
    task: Task,
}

/// What a worker does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Becomes another program.
    Run {
        /// Its path, or its name to be looked up in `PATH`.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// Sends requests; see [`load::Load`].
    Load(load::Plan),
    /// Answers as echo servers; see [`echo::EchoProcess`].
    Echo(Vec<echo::Listener>),
    /// Answers with outcomes to probes; see [`probe::ProbeProcess`].
    Probe,
}

impl Launcher {
    /// A launcher whose `program`, started with `arguments` and a job, calls [`run_worker`].
    pub fn new<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The command line for a job, to be given to [`crate::Namespace::spawn`]. It starts a process
    /// group of its own: a Ctrl-C reaches the parent alone, which then cleans up in its order.
    ///
    /// # Errors
    /// When a path in the job is not UTF-8.
    pub fn command(&self, job: &Job) -> Result<Command, Error> {
        let text = serde_json::to_string(job)
            .map_err(|source| Error::Format { what: format!("the job {job:?}"), source })?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(text).process_group(0);
        Ok(command)
    }
}

impl Job {
    /// A job for a child of this process.
    #[must_use]
    pub fn new(task: Task) -> Self {
        Self { parent: std::process::id(), cgroup: None, task }
    }

    /// To be done inside this cgroup.
    #[must_use]
    pub fn cgroup(self, path: Option<&Path>) -> Self {
        Self { cgroup: path.map(Path::to_owned), ..self }
    }
}

/// Does a job and returns when it is done.
///
/// # Errors
/// When the job is not one, the cgroup cannot be joined, or the task fails.
pub fn run_worker(job: &str) -> Result<(), Error> {
    let format = |source| Error::Format { what: format!("the job {job}"), source };
    let job: Job = serde_json::from_str(job).map_err(format)?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Error::system("follow the parent process"))?;
    if parent_id() != job.parent {
        // It was gone before the line above.
        return Ok(());
    }
    if let Some(cgroup) = job.cgroup {
        fs::write(cgroup.join("cgroup.procs"), "0")
            .map_err(Error::system(format!("join the cgroup {}", cgroup.display())))?;
    }
    match job.task {
        Task::Run { program, arguments } => {
            let error = Command::new(&program).args(arguments).exec();
            Err(Error::system(format!("run {}", program.display()))(error))
        }
        Task::Load(plan) => load::run(plan),
        Task::Echo(listeners) => echo::run(&listeners),
        Task::Probe => probe::run(),
    }
}
