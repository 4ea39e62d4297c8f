//! What the demo builds: namespaces, servers, a cgroup, folders, the agent.

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use seaway_lab::{
    Agent, AgentOptions, AgentStatus, Cgroup, Launcher, NodeSettings, Route, Server, Topology, bpffs, http,
    sweep,
};
use tempfile::TempDir;

use super::{
    interrupt::Interrupt,
    manifests::{self, ENDPOINT_PORT, ENDPOINTS, REMOVED, SERVICE_FILE, VIP},
    names::{NameServer, Resolution},
};

/// Folders, pins and the cgroup are called so, followed by the process id.
const NAME: &str = "seaway-demo-";
/// The client's address on the socket path.
const DIRECT_SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 11));
/// The verifier takes its time on an emulated processor.
const AGENT_STARTS_WITHIN: Duration = Duration::from_secs(90);
const CHANGE_WITHIN: Duration = Duration::from_secs(15);
const AGENT_ENDS_WITHIN: Duration = Duration::from_secs(5);

/// Everything, in the order in which it is taken down: who uses comes before what is used.
#[derive(Debug)]
pub(super) struct Site {
    names: Option<NameServer>,
    agent: Option<Agent>,
    _servers: Vec<Server>,
    network: Topology,
    cgroup: Cgroup,
    pins: PathBuf,
    folder: TempDir,
    launcher: Launcher,
}

impl Site {
    /// Builds all but the agent, and removes what killed demos left behind.
    pub(super) fn build() -> anyhow::Result<Self> {
        sweep(&bpffs(), NAME, |path| fs::remove_dir_all(path));
        sweep(&env::temp_dir(), NAME, |path| fs::remove_dir_all(path));
        let cgroup = Cgroup::new("demo")?;
        let folder = TempDir::with_prefix(format!("{NAME}{}-", process::id()));
        let folder = folder.context("cannot make a temporary folder")?;
        for path in [manifests_in(&folder), run_in(&folder)] {
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        manifests::write(&manifests_in(&folder))?;

        let gateway: IpAddr = [10, 1, 1, 1].into();
        let names = ENDPOINTS.map(|endpoint| format!("nginx-{endpoint}").replace("10.1.1.", ""));
        let endpoints = names.iter().zip(&ENDPOINTS);
        let pods: Vec<_> =
            endpoints.map(|(name, endpoint)| (name.as_str(), std::slice::from_ref(endpoint))).collect();
        let settings = NodeSettings::gentle("the demo needs no tool that is not part of it");
        let network = Topology::with(settings, &[gateway], &pods)?;
        give_direct_connections_their_own_source(&network, gateway)?;
        let serve = |(pod, &endpoint): (&seaway_lab::Pod, _)| {
            http::serve(&pod.namespace, &pod.interface, (endpoint, ENDPOINT_PORT).into())
        };
        let servers = network.pods.iter().zip(&ENDPOINTS).map(serve).collect::<Result<_, _>>()?;
        let program = env::current_exe().context("cannot find the path of this program")?;
        let pins = bpffs().join(format!("{NAME}{}", process::id()));
        let launcher = Launcher::new(program, ["worker"]);
        Ok(Self { names: None, agent: None, _servers: servers, network, cgroup, pins, folder, launcher })
    }

    /// One line about the network.
    pub(super) fn describe(&self) -> String {
        let endpoints = ENDPOINTS.map(|endpoint| endpoint.to_string()).join(", ");
        format!(
            "network: client {}, node {}, web servers {endpoints}",
            Topology::CLIENT[0],
            Topology::NODE[0]
        )
    }

    /// Starts the agent, waits until all endpoints are in force and returns one line about it.
    pub(super) fn start_agent(&mut self, interrupt: &Interrupt) -> anyhow::Result<String> {
        let started = Instant::now();
        let options = AgentOptions {
            kubeconfig: None,
            manifests: manifests_in(&self.folder),
            interfaces: self.network.interfaces(),
            cgroup: self.cgroup.path().to_owned(),
            pin_dir: self.pins.clone(),
            run_dir: run_in(&self.folder),
            arguments: vec!["--cleanup".into()],
        };
        let expected = ENDPOINTS.len() as u64;
        let agent = self.agent.insert(Agent::start(self.network.node.namespace(), &self.launcher, options)?);
        let status = interrupt.wait(|| {
            let status = agent.status()?.filter(|status| status.ready && status.backends >= expected);
            if status.is_none() && started.elapsed() > AGENT_STARTS_WITHIN {
                bail!("the agent is not ready within {AGENT_STARTS_WITHIN:?}; its log:\n{}", agent.log());
            }
            Ok(status)
        })?;
        let (pid, backends) = (status.pid, status.backends);
        let elapsed_ms = started.elapsed().as_millis();
        Ok(format!(
            "agent: process {pid} serves {VIP} with {backends} endpoints, {elapsed_ms} ms after its start"
        ))
    }

    /// Resolves the Service's name from the client.
    pub(super) fn resolve(&mut self, interrupt: &Interrupt) -> anyhow::Result<Resolution> {
        let server = NameServer::start(&self.network, &self.launcher, self.folder.path())?;
        self.names.insert(server).resolve(&self.network, interrupt)
    }

    /// Takes an endpoint away by an edit of its manifest.
    pub(super) fn remove_endpoint(&mut self) -> anyhow::Result<Removal> {
        let agent = self.agent.as_mut().context("the agent was never started")?;
        let before = agent.status()?.unwrap_or_default();
        agent.write_manifest(SERVICE_FILE, &manifests::service_without(REMOVED)?)?;
        Ok(Removal { since: Instant::now(), before })
    }

    /// How long the removal took to be in force, once it is.
    pub(super) fn removal_in_force(&mut self, removal: &Removal) -> anyhow::Result<Option<Duration>> {
        let agent = self.agent.as_mut().context("the agent was never started")?;
        let status = agent.status()?.unwrap_or_default();
        let elapsed = removal.since.elapsed();
        if status.revision > removal.before.revision && status.backends < removal.before.backends {
            return Ok(Some(elapsed));
        }
        if elapsed > CHANGE_WITHIN {
            bail!(
                "the agent did not apply the new {SERVICE_FILE} within {CHANGE_WITHIN:?}; its log:\n{}",
                agent.log()
            );
        }
        Ok(None)
    }

    /// The network.
    pub(super) fn network(&self) -> &Topology {
        &self.network
    }

    /// The cgroup whose sockets are translated.
    pub(super) fn cgroup(&self) -> &Path {
        self.cgroup.path()
    }

    /// How to start workers.
    pub(super) fn launcher(&self) -> &Launcher {
        &self.launcher
    }
}

/// A removal under way.
#[derive(Debug)]
pub(super) struct Removal {
    since: Instant,
    before: AgentStatus,
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            // It cleans up on SIGTERM. If it does not, it is killed, and the pins go below.
            agent.terminate(AGENT_ENDS_WITHIN).ok();
        }
        // Links and programs go with their pins; usually the agent has removed them.
        fs::remove_dir_all(&self.pins).ok();
    }
}

fn manifests_in(folder: &TempDir) -> PathBuf {
    folder.path().join("manifests")
}

fn run_in(folder: &TempDir) -> PathBuf {
    folder.path().join("run")
}

/// The socket path connects to endpoints directly, the XDP path through the node. From one address
/// the same port could go both ways to the same endpoint, which cannot tell the two apart.
fn give_direct_connections_their_own_source(network: &Topology, gateway: IpAddr) -> anyhow::Result<()> {
    let endpoints = IpNet::new(gateway, 24)?.trunc();
    network.client.add_address("eth0", IpNet::new(DIRECT_SOURCE, 24)?)?;
    let route = Route::to(endpoints).via(Topology::NODE[0]).source(DIRECT_SOURCE);
    Ok(network.client.add_route(&route)?)
}
