//! Questions to echo servers, one at a time, and what became of them.

mod flow;
mod once;
mod prober;

use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{ChildStdin, ChildStdout, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{Error, Job, Launcher, Namespace, Process, Task, echo::Answer};

pub use prober::Prober;

/// How a question is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// connect, read the greeting or, on an open flow, send a line and read the answer.
    Tcp,
    /// connect, read the greeting, send four lines of a quarter of [`Probe::size`] each and read as
    /// much back, then close and wait for the other side to close: every kind of segment that a
    /// connection has.
    Exchange,
    /// As [`Tcp`](Self::Tcp), by a socket of MPTCP.
    Mptcp,
    /// As [`Tcp`](Self::Tcp), with a first line in the SYN (TCP fast open).
    FastOpen,
    /// connect of UDP, which sends nothing; the answer is by "connected", seen from the own address.
    UdpConnect,
    /// connect, send, receive: the way of most resolvers.
    Udp,
    /// sendto and recvfrom on a socket without a peer. ICMP errors are seen here as well.
    UdpUnconnected,
    /// Four datagrams of [`Probe::size`] bytes in one call (`UDP_SEGMENT`), each of which is answered.
    Segments,
    /// An ICMP echo request; the reply counts as an answer by "echo-reply".
    Icmp,
    /// One GET of "/"; the answer's name is "http-" and the status.
    Http,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// How to ask.
    pub transport: Transport,
    /// Whom to ask.
    pub to: SocketAddr,
    /// The own address and port; a port of 0 takes any. A TCP connection from a given port ends with
    /// a reset, so that the next one can use the port at once.
    pub from: Option<SocketAddr>,
    /// Keeps the socket under this name for further questions instead of closing it.
    pub flow: Option<String>,
    /// Bytes of a UDP question, of an exchange each way, or of an echo request's data.
    pub size: usize,
    /// How long to wait for the connection, and then for the answer, in milliseconds.
    pub timeout_ms: u64,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Somebody answered.
    Answered {
        /// What they said.
        answer: Answer,
        /// Who they are to the client: getpeername of a connected socket, otherwise the sender of
        /// the datagram.
        remote: SocketAddr,
    },
    /// TCP reset or ICMP port unreachable.
    Refused,
    /// Nothing came in time.
    Timeout,
    /// ICMP host or network unreachable, or no route.
    Unreachable,
    /// An open connection was torn down.
    Reset,
    /// Anything else.
    Failed(String),
}

impl Probe {
    /// A question with a socket of its own, 200 bytes, one second to answer.
    #[must_use]
    pub fn new(transport: Transport, to: SocketAddr) -> Self {
        Self { transport, to, from: None, flow: None, size: 200, timeout_ms: 1000 }
    }
}

impl Outcome {
    /// The name of whoever answered.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Answered { answer, .. } => Some(&answer.name),
            _ => None,
        }
    }
}

/// A [`Prober`] in a process of its own, for hooks that tell processes apart by their cgroup.
#[derive(Debug)]
pub struct ProbeProcess {
    process: Process,
    questions: ChildStdin,
    outcomes: BufReader<ChildStdout>,
}

impl ProbeProcess {
    /// Starts one in `namespace`, in `cgroup` if given.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(namespace: &Namespace, launcher: &Launcher, cgroup: Option<&Path>) -> Result<Self, Error> {
        let mut command = launcher.command(&Job::new(Task::Probe).cgroup(cgroup))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = namespace.spawn(command)?;
        let pipes = process.stdin().zip(process.stdout()).ok_or(io::ErrorKind::BrokenPipe);
        let (questions, outcomes) = pipes.map_err(Error::system("talk to the probe process"))?;
        Ok(Self { process, questions, outcomes: BufReader::new(outcomes) })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks once and waits for the outcome.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn ask(&mut self, probe: &Probe) -> Result<Outcome, Error> {
        let format = |source| Error::Format { what: "the outcome of a probe".into(), source };
        let mut line = serde_json::to_string(probe).map_err(format)?;
        line.push('\n');
        let mut outcome = String::new();
        let sent = self.questions.write_all(line.as_bytes());
        let asked = sent.and_then(|()| self.outcomes.read_line(&mut outcome));
        asked.map_err(Error::system("talk to the probe process"))?;
        serde_json::from_str(&outcome).map_err(format)
    }
}

/// The worker's side: a probe per line in, an outcome per line out, until the input ends.
pub(crate) fn run() -> Result<(), Error> {
    let mut prober = Prober::default();
    for line in io::stdin().lock().lines() {
        let line = line.map_err(Error::system("read a probe"))?;
        let format = |source| Error::Format { what: format!("the probe {line}"), source };
        let outcome = prober.ask(&serde_json::from_str(&line).map_err(format)?);
        let outcome = serde_json::to_string(&outcome).map_err(format)?;
        writeln!(io::stdout().lock(), "{outcome}").map_err(Error::system("report an outcome"))?;
    }
    Ok(())
}
