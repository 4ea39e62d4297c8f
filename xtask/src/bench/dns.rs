//! `cargo xtask bench dns`: one core for the server, another for the client, rounds in turn.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::client;
use super::dataset::{self, Load};
use super::servers::{KINDS, Server};
use super::statistics::Values;
use crate::workspace;

/// Queries in flight: more than a batch, fewer than fit into a socket's buffer.
const WINDOW: usize = 512;
const CLIENT_CORE: usize = 1;
const DNSPERF: &str = "dnsperf";
/// Sockets that dnsperf asks from: a few busy ones, as of resolvers and caches; and many, as of pods. Answers
/// to one socket can share a message, so that both tell something.
const PERF_SOCKETS: [(&str, &str); 2] = [("dnsperf 4", "4"), ("dnsperf 64", "64")];

/// `cargo xtask bench dns`
#[derive(ClapArgs)]
pub(super) struct Args {
    /// Measurements of each server and load.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long each measurement takes, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    time_ms: u64,
}

/// Starts what is installed and measures it.
pub(super) fn run(args: &Args) -> Result<()> {
    workspace::run(workspace::cargo().args(["build", "--release", "-p", "seaway", "--locked"]))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(cores > CLIENT_CORE, "this takes two cores, one for the server and one for the client");
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    dataset::write(dir.path())?;
    let mut servers = Vec::new();
    for kind in &KINDS {
        match kind.start(dir.path())? {
            Some(server) => servers.push(server),
            None => println!("{}: not installed, left out (Debian package {})", kind.name, kind.package),
        }
    }
    let dnsperf = Command::new(DNSPERF).arg("-h").output().is_ok();
    if !dnsperf {
        println!("dnsperf: not installed, left out (Debian package dnsperf)");
    }
    let mut own = CpuSet::new();
    own.set(CLIENT_CORE).context("cannot name a core")?;
    sched_setaffinity(Pid::from_raw(0), &own).context("cannot stay on one core")?;
    let loads = dataset::loads();
    let mut values: BTreeMap<(&str, &str, usize), Values> = BTreeMap::new();
    for _ in 0..args.rounds {
        for load in &loads {
            let messages = load.messages();
            for (place, server) in servers.iter().enumerate() {
                let time = Duration::from_millis(args.time_ms);
                let rate = client::run(server.address, &messages, time, WINDOW)?;
                values.entry((load.name, "own client", place)).or_default().add(rate);
                for (client, sockets) in PERF_SOCKETS.iter().filter(|_| dnsperf) {
                    let rate = perf(dir.path(), server, load, (sockets, args.time_ms))?;
                    values.entry((load.name, client, place)).or_default().add(rate);
                }
            }
        }
    }
    print(&servers, &values);
    Ok(())
}

fn perf(dir: &Path, server: &Server, load: &Load, (sockets, time_ms): (&str, u64)) -> Result<f64> {
    let file = dir.join("queries");
    std::fs::write(&file, load.text()).context("cannot write the queries")?;
    let output = Command::new(DNSPERF)
        .args(["-s", "127.0.0.1", "-p", &server.address.port().to_string(), "-T", "1", "-c", sockets, "-q"])
        .arg(WINDOW.to_string())
        .args(["-l", &time_ms.div_ceil(1000).to_string(), "-d"])
        .arg(&file)
        .output()
        .context("cannot run dnsperf")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Queries per second:"));
    line.and_then(|rate| rate.trim().parse().ok()).with_context(|| format!("dnsperf says: {text}"))
}

fn print(servers: &[Server], values: &BTreeMap<(&str, &str, usize), Values>) {
    println!(
        "{:<9} {:<11} {:<8} {:>10} {:>10} {:>10} {:>8}",
        "LOAD", "CLIENT", "SERVER", "MEDIAN", "LOWEST", "HIGHEST", "SEAWAY"
    );
    for ((load, client, place), rates) in values {
        let (median, low, high) = rates.summary();
        let ours = values.get(&(*load, *client, 0)).map_or(0.0, |rates| rates.summary().0);
        let ratio = format!("{:.2}x", ours / median);
        println!(
            "{load:<9} {client:<11} {:<8} {median:>10.0} {low:>10.0} {high:>10.0} {ratio:>8}",
            servers[*place].name
        );
    }
    for client in PERF_SOCKETS.map(|(client, _)| client).into_iter().chain(["own client"]) {
        let median = |load| values.get(&(load, client, 0)).map(|rates| rates.summary().0);
        if let (Some(hits), Some(mixed)) = (median("hits"), median("ndots:5")) {
            println!("ndots:5 mix against hits, Seaway, {client}: {:.3}", mixed / hits);
        }
    }
    for server in servers {
        println!("{}: {:.1} MB resident, 10000 services x 10 endpoints", server.name, server.resident_mb());
    }
}
