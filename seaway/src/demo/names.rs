//! The Service's name, resolved from the client's namespace by a real `seaway dns` on the node.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use seaway_dns::{explain::Answer, name, wire::kind};
use seaway_lab::{Job, Launcher, Process, Task, Topology};
use serde::Serialize;

use super::interrupt::Interrupt;

/// The name of the Service of the example manifests.
pub(super) const NAME: &str = "nginx-svc.default.svc.cluster.local.";
const PORT: u16 = 53;
const STARTS_WITHIN: Duration = Duration::from_secs(15);
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// What the client was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Resolution {
    pub(super) name: &'static str,
    pub(super) address: IpAddr,
    pub(super) took_us: u64,
}

/// A name server on the node; it is killed on drop.
#[derive(Debug)]
pub(super) struct NameServer {
    process: Process,
    address: SocketAddr,
}

impl NameServer {
    /// Starts it on the node's address. It follows the same manifests as the agent.
    pub(super) fn start(network: &Topology, launcher: &Launcher, folder: &Path) -> anyhow::Result<Self> {
        let address = SocketAddr::new(Topology::NODE[0], PORT);
        let corefile = folder.join("Corefile");
        let text = format!(
            ".:{PORT} {{\n    bind {}\n    errors\n    kubernetes cluster.local in-addr.arpa\n}}\n",
            address.ip()
        );
        fs::write(&corefile, text).with_context(|| format!("cannot write {}", corefile.display()))?;
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let arguments =
            ["dns", "--corefile", &path(&corefile), "--manifests", &path(&folder.join("manifests"))];
        let arguments =
            arguments.map(str::to_owned).into_iter().chain(["--threads".to_owned(), "1".to_owned()]);
        let task = Task::Run { program: launcher.program().to_owned(), arguments: arguments.collect() };
        let mut command = launcher.command(&Job::new(task))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { process: network.node.namespace().spawn(command)?, address })
    }

    /// Asks from the client's namespace until there is an answer with an address.
    pub(super) fn resolve(
        &mut self,
        network: &Topology,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Resolution> {
        let started = Instant::now();
        let server = self.address;
        interrupt.wait(|| {
            if let Some(status) = self.process.try_wait()? {
                bail!("the name server has ended: {status}");
            }
            let begun = Instant::now();
            let asked = network.client.run(|| ask(server))?;
            let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            let found = asked.ok().flatten().map(|address| Resolution { name: NAME, address, took_us });
            if found.is_none() && started.elapsed() > STARTS_WITHIN {
                bail!("{NAME} was not resolved at {server} within {STARTS_WITHIN:?}");
            }
            Ok(found)
        })
    }
}

impl Resolution {
    /// One line about it.
    pub(super) fn describe(&self) -> String {
        let Self { name, address, took_us } = self;
        format!("names: {name} is {address}, asked for by the client; the answer took {took_us} us")
    }
}

fn ask(server: SocketAddr) -> anyhow::Result<Option<IpAddr>> {
    let mut message = vec![0x5e, 0xa1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&name::parse(NAME)?);
    message.extend_from_slice(&kind::A.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWERS_WITHIN))?;
    socket.send(&message)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    let answer = Answer::read(&answer[..length]).context("the answer cannot be read")?;
    let addresses = answer.records.iter().filter(|(section, _)| *section == "answer");
    Ok(addresses.filter_map(|(_, record)| record.rsplit(' ').next()?.parse().ok()).next())
}
