//! `seaway agent`: load, attach, follow the facts, and leave the kernel's part in place.

mod capacity;
mod dataplane;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use seaway_cluster::manifests::{self, FollowOptions, Update};
use seaway_dataplane::attach;
use seaway_dataplane::pins::Pins;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::sync::Event;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::Usage;
use crate::logging;
use crate::node::{self, Places};

/// `seaway agent`
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Args {
    /// Follow the Kubernetes manifests in this folder: Services, EndpointSlices, Endpoints, Pods and Nodes.
    #[arg(long, value_name = "DIR", env = "SEAWAY_MANIFESTS")]
    manifests: Option<PathBuf>,
    /// Translate packets that arrive on this interface (repeatable).
    #[arg(long = "interface", value_name = "IF", env = "SEAWAY_INTERFACES", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// Translate connects of processes in this cgroup (version 2) and below.
    #[arg(long, value_name = "PATH", env = "SEAWAY_CGROUP")]
    cgroup: Option<PathBuf>,
    /// This node's name in the manifests (default: the host name).
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
    #[command(flatten)]
    places: Places,
    /// Take everything out of the kernel: at once without a source, else when the agent ends.
    #[arg(long)]
    cleanup: bool,
    #[command(flatten)]
    capacity: capacity::Args,
    #[command(flatten)]
    log: logging::Args,
}

/// How often the maps are compared with what they should hold.
const AUDIT_EVERY: Duration = Duration::from_mins(1);

/// Runs until a signal ends it.
pub(crate) fn run(args: Args) -> Result<()> {
    logging::start(&args.log).context("--log")?;
    if args.manifests.is_none() && !args.cleanup {
        bail!(Usage("there is no source of facts: give --manifests DIR"));
    }
    if args.manifests.is_some() && args.interfaces.is_empty() && args.cgroup.is_none() {
        bail!(Usage("there is nothing to attach to: give --interface IF, --cgroup PATH, or both"));
    }
    let probe = Probe::run()?;
    let Some(folder) = args.manifests.clone() else {
        return clean_up(&args.places);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args, &folder, probe))
}

/// The loop: facts, retries and audits in; maps and the status file out.
async fn serve(args: Args, folder: &Path, probe: Probe) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut source = manifests::follow(folder, FollowOptions::default())?;
    attach::check(&args.interfaces, args.cgroup.as_deref())?;
    let pins = Pins::take(&args.places.pin_dir)?;
    let mut audit = interval(AUDIT_EVERY);
    audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    audit.tick().await;
    let started = Instant::now();
    let mut agent =
        dataplane::Agent::load(&args, probe, &pins, node::name(args.node_name.as_deref()), folder)?;
    let mut event = take_facts(&mut source, &mut agent);
    loop {
        let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let retry_in = agent.handle(event, now_ms)?;
        let retry_at = tokio::time::Instant::now() + retry_in.unwrap_or(Duration::MAX / 4);
        event = tokio::select! {
            changed = source.changed() => match changed {
                Ok(()) => take_facts(&mut source, &mut agent),
                Err(_) => bail!("the manifest folder is no longer followed"),
            },
            () = sleep_until(retry_at), if retry_in.is_some() => Event::Retry,
            _ = audit.tick() => Event::Audit,
            _ = terminate.recv() => Event::Stop,
            _ = interrupt.recv() => Event::Stop,
        };
        if matches!(event, Event::Stop) {
            break;
        }
    }
    agent.stop();
    if args.cleanup {
        pins.remove()?;
        tracing::info!("stopped; programs and maps were removed");
    } else {
        tracing::info!("stopped; programs and maps stay in place");
    }
    Ok(())
}

fn take_facts(source: &mut watch::Receiver<Update>, agent: &mut dataplane::Agent) -> Event {
    let update = source.borrow_and_update().clone();
    agent.note_source(&update.warnings);
    Event::Facts(Arc::clone(&update.snapshot))
}

/// Removes what an earlier agent left. Without anything there it is done already.
fn clean_up(places: &Places) -> Result<()> {
    if !places.pin_dir.exists() {
        tracing::info!(folder = %places.pin_dir.display(), "nothing to remove");
        return Ok(());
    }
    Pins::take(&places.pin_dir)?.remove()?;
    tracing::info!(folder = %places.pin_dir.display(), "programs and maps were removed");
    Ok(())
}
