//! `seaway explain`: where a client's connection goes, and why.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use seaway_cluster::manifests::ManifestDir;
use seaway_cluster::source::{self, Source, Wants};
use seaway_cluster::{Protocol, Snapshot};
use seaway_dataplane::explain::{Explanation, InForce, explain, in_force};
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::pins;
use seaway_dataplane::stand_in::StandIn;
use seaway_dataplane::status::Status;

use crate::facts;
use crate::node::{self, Places};
use crate::table::{self, Output};

/// An API server has this long to send what is needed.
const PATIENCE: Duration = Duration::from_secs(30);

/// `seaway explain`
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Args {
    /// The client's address.
    client: IpAddr,
    /// The virtual address and port, for example 10.96.0.80:8080 or [fd96::80]:8080.
    #[arg(value_name = "VIP:PORT")]
    vip: SocketAddr,
    /// Transport protocol.
    #[arg(short, long, value_enum, default_value = "tcp")]
    protocol: Transport,
    /// The source of facts; the default is that of the running agent.
    #[command(flatten)]
    facts: facts::Args,
    /// The node whose view is explained (default: that of the running agent, else the host name).
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    places: Places,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// Explains from the facts, and from the maps where they can be read. Only the latter need rights.
pub(crate) fn run(args: &Args) -> Result<()> {
    let running = Status::read(&args.places.run_dir).ok();
    let known = args.node_name.as_deref().or(running.as_ref().map(|status| status.node.as_str()));
    let node = node::name(known);
    let snapshot = snapshot(&source(args, running.as_ref()), &node)?;
    let protocol = match args.protocol {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
        Transport::Sctp => Protocol::Sctp,
    };
    // What an agent of another node knows of its addresses says nothing of this one.
    let here = running.as_ref().filter(|status| status.node == node);
    let mut site = here.map(|status| status.settings.clone()).unwrap_or_default().site(&node);
    let folder = pins::maps(&args.places.pin_dir);
    let stands_in = StandIn::open(&folder).and_then(|map| map.holds()).ok();
    site.node_dns.silent = !stands_in.unwrap_or_else(|| here.is_some_and(Status::alive));
    let mut explanation = explain(&snapshot, site, args.client, args.vip, protocol)?;
    if let Ok(maps) = KernelMaps::open(&folder) {
        let (frontend, stands_in) = (&explanation.frontend, stands_in.unwrap_or_default());
        explanation.in_force = in_force(&maps, frontend, args.client, explanation.inside, stands_in)?;
    }
    match args.output {
        Output::Json => table::say(&serde_json::to_string_pretty(&explanation)?),
        Output::Text => table::say(&text(&explanation)),
    }
}

/// The source that is named, else the running agent's, else the cluster that this runs in.
fn source(args: &Args, running: Option<&Status>) -> Source {
    match running.filter(|_| !args.facts.named()) {
        Some(status) => match &status.manifests {
            Some(folder) => Source::Manifests(folder.clone()),
            None => Source::ApiServer { kubeconfig: status.kubeconfig.clone() },
        },
        None => args.facts.source(),
    }
}

/// The facts at this moment, read as the agent reads them.
fn snapshot(source: &Source, node: &str) -> Result<Arc<Snapshot>> {
    if let Source::Manifests(folder) = source {
        return Ok(Arc::clone(&ManifestDir::open(folder)?.current().snapshot));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let wants = Wants::proxy(node);
        let updates = tokio::time::timeout(PATIENCE, source::follow(source, &wants)).await;
        let updates = updates
            .with_context(|| format!("the API server did not send its lists within {PATIENCE:?}"))?
            .context("give --manifests DIR or --kubeconfig FILE; no agent runs here to ask for its source")?;
        let snapshot = Arc::clone(&updates.borrow().snapshot);
        Ok(snapshot)
    })
}

fn text(explanation: &Explanation) -> String {
    let Explanation { client, vip, service, protocol, list, topology, algorithm, endpoints, .. } =
        explanation;
    let rows = endpoints.iter().map(|endpoint| {
        [
            endpoint.address.to_string(),
            endpoint.node.clone().unwrap_or_else(|| "<none>".to_owned()),
            if endpoint.candidate { "yes" } else { "no" }.to_owned(),
            endpoint.why.clone(),
        ]
    });
    let endpoints = table::render(["ENDPOINT", "NODE", "CANDIDATE", "WHY"], rows);
    let mut lines = vec![
        format!("{client} -> {vip} ({protocol}) is service {service}"),
        format!("list:       {list}"),
        format!("topology:   {topology}"),
        format!("algorithm:  {algorithm}"),
        String::new(),
        endpoints,
    ];
    lines.extend(explanation.notes.iter().map(|note| format!("note: {note}")));
    lines.push(in_force_text(explanation.in_force.as_ref()));
    lines.join("\n")
}

fn in_force_text(in_force: Option<&InForce>) -> String {
    let Some(InForce { service, algorithm, candidates, table, picked }) = in_force else {
        return "in force: not known; the maps of this node cannot be read, or do not have this frontend"
            .to_owned();
    };
    let table = table.map(|places| format!(", table of {places} places")).unwrap_or_default();
    let picked = picked.map(|endpoint| format!("; this client gets {endpoint}")).unwrap_or_default();
    let candidates: Vec<String> = candidates.iter().map(ToString::to_string).collect();
    let candidates = if candidates.is_empty() { "nothing".to_owned() } else { candidates.join(", ") };
    format!("in force: service id {service}, {algorithm} over {candidates}{table}{picked}")
}
