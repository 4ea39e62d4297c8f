//! From the API server's word to the kernel: propagation, cold sync, restart, memory.
//!
//! The server is a stub that speaks the real protocol over loopback; the maps are the kernel's,
//! with the programs loaded and attached nowhere. Needs root. Each figure is the median of seven
//! rounds, or of all changes of seven rounds, with the spread beside it.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use seaway_cluster::api_server::{Options, follow};
use seaway_cluster::source::Wants;
use seaway_cluster::{Snapshot, Update};
use seaway_common::Capacities;
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::Programs;
use seaway_dataplane::sync::{Event, Sync};
use seaway_harness::{AgentSetup, ApiBehaviour, ApiServer};
use seaway_lab::Namespace;
use seaway_tests::api_objects::{service, slice};
use tokio::sync::watch;

const SERVICES: [u32; 2] = [1_000, 10_000];
const ENDPOINTS: u32 = 10;
const ROUNDS: usize = 7;
/// Changes of each round.
const CHANGES: u32 = 200;
const NODE: &str = "node-1";

struct Round {
    /// From the list's last page, or object, to everything in the maps.
    cold: Duration,
    /// From a change's arrival to the maps, each.
    propagation: Vec<Duration>,
    /// Map operations of an agent that starts on maps that are right already.
    restart_writes: usize,
}

fn main() -> Result<()> {
    let mut table = Table::new();
    table.set_header([
        "services",
        "endpoints",
        "cold sync",
        "propagation p50",
        "p99",
        "max",
        "restart writes",
        "agent resident",
    ]);
    for services in SERVICES {
        let server = ApiServer::start(ApiBehaviour::default());
        server.put_all((0..services).map(service));
        server.put_all((0..services).map(|number| slice(number, ENDPOINTS)));
        let rounds =
            (0..ROUNDS).map(|round| measure(&server, services, round)).collect::<Result<Vec<_>>>()?;
        let mut cold: Vec<Duration> = rounds.iter().map(|round| round.cold).collect();
        let mut all: Vec<Duration> = rounds.iter().flat_map(|round| round.propagation.clone()).collect();
        cold.sort_unstable();
        all.sort_unstable();
        let at = |share: usize| format!("{:.3?}", all[(all.len() * share / 100).min(all.len() - 1)]);
        let writes: usize = rounds.iter().map(|round| round.restart_writes).sum();
        table.add_row([
            services.to_string(),
            (services * ENDPOINTS).to_string(),
            format!("{:.1?} ({:.1?} to {:.1?})", cold[ROUNDS / 2], cold[0], cold[ROUNDS - 1]),
            at(50),
            at(99),
            format!("{:.3?}", all[all.len() - 1]),
            writes.to_string(),
            resident(services)?,
        ]);
    }
    println!("{table}");
    Ok(())
}

fn measure(server: &ApiServer, services: u32, round: usize) -> Result<Round> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        server.write_kubeconfig(&kubeconfig, None);
        let mut source = follow(Some(&kubeconfig), &Wants::proxy(NODE), Options::default()).await?;
        let programs = Programs::load(&Probe::run()?, &Capacities::DEFAULT, None)?;
        let mut sync = Sync::new(programs.maps()?, NODE)?;
        let first = facts(&mut source);
        drop(source.borrow().arrivals.take());
        let begun = Instant::now();
        apply(&mut sync, &first)?;
        let cold = begun.elapsed();
        let mut propagation = Vec::new();
        for change in 0..CHANGES {
            let number = (change * 37 + u32::try_from(round)?) % services;
            server.put(slice(number, ENDPOINTS - 1 - u32::try_from(round)? % 2));
            source.changed().await?;
            let snapshot = facts(&mut source);
            let since = source.borrow().arrivals.take().since.context("a change that did not arrive")?;
            apply(&mut sync, &snapshot)?;
            propagation.push(since.elapsed());
        }
        let latest = facts(&mut source);
        drop(sync);
        let mut again = Sync::new(programs.maps()?, NODE)?;
        let restart_writes = apply(&mut again, &latest)?;
        Ok(Round { cold, propagation, restart_writes })
    })
}

/// The memory of an agent process that serves as many, in a namespace of its own: all of it, and
/// the part that is no mapped file or BPF map.
fn resident(services: u32) -> Result<String> {
    let namespace = Namespace::new("bench")?;
    let listener = namespace.run(|| TcpListener::bind("127.0.0.1:0"))??;
    let server = ApiServer::serve(listener, ApiBehaviour::default());
    server.put_all((0..services).map(service));
    server.put_all((0..services).map(|number| slice(number, ENDPOINTS)));
    let mut setup = AgentSetup::new(["lo"]).arguments(["--node-name", NODE]);
    setup.follow(&server);
    let agent = setup.start(&namespace);
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id()))?;
    let mib = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        Ok(line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>()? / 1024)
    };
    Ok(format!("{} MiB ({} MiB anonymous)", mib("VmRSS")?, mib("RssAnon")?))
}

/// The facts in force; what arrived so far is taken with the first.
fn facts(source: &mut watch::Receiver<Update>) -> Arc<Snapshot> {
    Arc::clone(&source.borrow_and_update().snapshot)
}

fn apply(sync: &mut Sync<KernelMaps>, snapshot: &Arc<Snapshot>) -> Result<usize> {
    let outcome = sync.handle(Event::Facts(Arc::clone(snapshot)), 0);
    if let Some(error) = outcome.error {
        return Err(error.into());
    }
    if !outcome.full.is_empty() {
        bail!("{}", outcome.full[0]);
    }
    Ok(outcome.applied)
}
