//! `cargo xtask bench dns`: one core for the server, another for the client, rounds in turn.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::client;
use super::dataset::{self, Load};
use super::servers::{KINDS, PROGRAM, Server};
use super::statistics::Values;
use crate::workspace;

/// Queries in flight: more than a batch, fewer than fit into a socket's buffer.
const WINDOW: usize = 512;
const CLIENT_CORE: usize = 1;
const DNSPERF: &str = "dnsperf";
/// Sockets that dnsperf asks from: a few busy ones, as of resolvers and caches; and many, as of pods. Answers
/// to one socket can share a message, so that both tell something.
const PERF_SOCKETS: [(&str, &str); 2] = [("dnsperf 4", "4"), ("dnsperf 64", "64")];

/// Answers a second.
#[derive(Default)]
struct Rates {
    wall: Values,
    /// Of the server's time on its processor: what it could do if the client asked for more.
    processor: Values,
}

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
    let built =
        workspace::build(workspace::cargo().args(["build", "--release", "-p", "seaway", "--locked"]))?;
    let program = built.get("seaway").context("cargo made no program named seaway")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(cores > CLIENT_CORE, "this takes two cores, one for the server and one for the client");
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    dataset::write(dir.path())?;
    symlink(program, dir.path().join(PROGRAM)).context("cannot link to the program")?;
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
    let mut values: BTreeMap<(&str, &str, usize), Rates> = BTreeMap::new();
    for _ in 0..args.rounds {
        for load in &loads {
            let messages = load.messages();
            for (place, server) in servers.iter().enumerate() {
                let time = Duration::from_millis(args.time_ms);
                let mut measure = |client, ask: &dyn Fn() -> Result<(u64, Duration)>| -> Result<()> {
                    let before = server.processor_time();
                    let (answers, took) = ask()?;
                    let spent = server.processor_time().saturating_sub(before);
                    let rates = values.entry((load.name, client, place)).or_default();
                    rates.wall.add(answers as f64 / took.as_secs_f64());
                    rates.processor.add(answers as f64 / spent.as_secs_f64());
                    Ok(())
                };
                measure("own client", &|| client::run(server.address, &messages, time, WINDOW))?;
                for (client, sockets) in PERF_SOCKETS.iter().filter(|_| dnsperf) {
                    measure(client, &|| perf(dir.path(), server, load, (sockets, args.time_ms)))?;
                }
            }
        }
    }
    print(&servers, &values);
    Ok(())
}

/// Answers that dnsperf got, and in what time.
fn perf(
    dir: &Path,
    server: &Server,
    load: &Load,
    (sockets, time_ms): (&str, u64),
) -> Result<(u64, Duration)> {
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
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()).with_context(|| format!("dnsperf says: {text}"))
    };
    let answers = value("Queries completed:")?.parse()?;
    Ok((answers, Duration::from_secs_f64(value("Run time (s):")?.parse()?)))
}

fn print(servers: &[Server], values: &BTreeMap<(&str, &str, usize), Rates>) {
    println!(
        "{:<9} {:<11} {:<8} {:>10} {:>10} {:>10} {:>8} {:>10} {:>8}",
        "LOAD", "CLIENT", "SERVER", "MEDIAN", "LOWEST", "HIGHEST", "SEAWAY", "PER CPU S", "SEAWAY"
    );
    for ((load, client, place), rates) in values {
        let ((median, low, high), processor) = (rates.wall.summary(), rates.processor.summary().0);
        let ours = &values[&(*load, *client, 0)];
        let ratio = |ours: f64, theirs: f64| format!("{:.2}x", ours / theirs);
        println!(
            "{load:<9} {client:<11} {:<8} {median:>10.0} {low:>10.0} {high:>10.0} {:>8} {processor:>10.0} {:>8}",
            servers[*place].name,
            ratio(ours.wall.summary().0, median),
            ratio(ours.processor.summary().0, processor),
        );
    }
    for client in PERF_SOCKETS.map(|(client, _)| client).into_iter().chain(["own client"]) {
        if let (Some(hits), Some(mixed)) =
            (values.get(&("hits", client, 0)), values.get(&("ndots:5", client, 0)))
        {
            let against = |of: fn(&Rates) -> &Values| of(mixed).summary().0 / of(hits).summary().0;
            println!(
                "ndots:5 mix against hits, Seaway, {client}: {:.3}, per second of its processor {:.3}",
                against(|rates| &rates.wall),
                against(|rates| &rates.processor),
            );
        }
    }
    for server in servers {
        println!("{}: {:.1} MB resident, 10000 services x 10 endpoints", server.name, server.resident_mb());
    }
}
