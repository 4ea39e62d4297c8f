//! `seaway explain`: where a client's connection goes, and why.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use seaway_cluster::Protocol;
use seaway_cluster::manifests::ManifestDir;
use seaway_dataplane::explain::{Explanation, explain};
use seaway_dataplane::status::Status;

use crate::node::{self, Places};
use crate::table::{self, Output};

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
    /// The folder of manifests (default: that of the running agent).
    #[arg(long, value_name = "DIR", env = "SEAWAY_MANIFESTS")]
    manifests: Option<PathBuf>,
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

/// Explains from the facts, which need no kernel and no rights.
pub(crate) fn run(args: &Args) -> Result<()> {
    let running = Status::read(&args.places.run_dir).ok();
    let folder =
        args.manifests.clone().or_else(|| running.as_ref().and_then(|status| status.manifests.clone()));
    let folder = folder.context("no agent runs here to ask for its manifests: give --manifests DIR")?;
    let known = args.node_name.as_deref().or(running.as_ref().map(|status| status.node.as_str()));
    let folder = ManifestDir::open(folder)?;
    let snapshot = &folder.current().snapshot;
    let protocol = match args.protocol {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
        Transport::Sctp => Protocol::Sctp,
    };
    let explanation = explain(snapshot, node::name(known).as_str(), args.client, args.vip, protocol)?;
    match args.output {
        Output::Json => table::say(&serde_json::to_string_pretty(&explanation)?),
        Output::Text => table::say(&text(&explanation)),
    }
}

fn text(explanation: &Explanation) -> String {
    let Explanation { client, vip, service, protocol, list, topology, algorithm, endpoints, notes } =
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
    lines.extend(notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n")
}
