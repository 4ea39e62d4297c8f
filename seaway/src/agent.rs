//! `seaway agent`: load, attach, follow the facts, and leave the kernel's part in place.

mod capacity;
mod dataplane;
mod health_checks;
mod http_server;
mod interfaces;
mod node_dns;
mod options;
mod report;
mod servers;
mod timeouts;
mod told;
mod traffic;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use seaway_cluster::Update;
use seaway_cluster::source::Wants;
use seaway_dataplane::attach;
use seaway_dataplane::links::{self, Links};
use seaway_dataplane::pins::{self, Pins};
use seaway_dataplane::probe::Probe;
use seaway_dataplane::sync::Event;
use seaway_dataplane::{netns, reserve};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::Usage;
use crate::dns::LOOK_EVERY;
use crate::logging;
use crate::node::{self, Places};
use interfaces::{Interfaces, Selection};
use node_dns::NodeDns;
use told::Told;

pub(crate) use options::Args;

/// How often the maps are compared with what they should hold.
const AUDIT_EVERY: Duration = Duration::from_mins(1);
/// How often it is looked whether an interface of a pattern came or went.
const INTERFACES_EVERY: Duration = Duration::from_secs(2);

/// Runs until a signal ends it.
pub(crate) fn run(args: &Args) -> Result<()> {
    logging::start(&args.log).context("--log")?;
    let clean_up_only = args.cleanup && !args.facts.named();
    if !clean_up_only && !args.interfaces()?.any() && args.cgroup.is_none() {
        bail!(Usage("there is nothing to attach to: give --interface IF, --cgroup PATH, or both"));
    }
    let probe = Probe::run()?;
    if clean_up_only {
        return clean_up(&args.places);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args, probe))
}

/// Takes the pin folder, works, and leaves in it what is at work.
async fn serve(args: &Args, probe: Probe) -> Result<()> {
    let interfaces = args.interfaces()?;
    attach::check(interfaces.named(), args.cgroup.as_deref())?;
    let pins = Pins::take(&args.places.pin_dir)?;
    let ended = work(args, probe, &pins, interfaces).await;
    if ended.is_ok() && args.cleanup {
        pins.remove()?;
        tracing::info!("stopped; programs and maps were removed");
    } else if ended.is_ok() {
        tracing::info!("stopped; programs and maps stay in place");
    } else if !pins.are_at_work()
        && let Err(error) = pins.remove()
    {
        // A start that was refused leaves nothing behind; why it was matters more than this.
        tracing::warn!(error = &error as &dyn std::error::Error, "the pin folder stays");
    }
    ended
}

/// Up to the first facts, then the loop.
async fn work(args: &Args, probe: Probe, pins: &Pins, interfaces: Interfaces) -> Result<()> {
    let mut ends = Ends::new()?;
    let node = node::name(args.node_name.as_deref());
    let pods = args.traffic.pod_interfaces()?;
    attach::check(pods.named(), None)?;
    let mut dns = NodeDns::new(&args.dns, pins.maps())?;
    let links = links::follow().await?;
    let mut selection = Selection::new(interfaces, pods, args.traffic.pod_network());
    selection.note_links(&links.borrow());
    selection.refuse_unsupported()?;
    let site = args.traffic.site(&node, netns::cookie()?)?;
    reserve_ports(args);
    let told = Told::new(&pins.maps());
    servers::start(&args.servers, &told).await?;
    let mut wants = Wants::proxy(node);
    if let Some(dns) = &dns {
        wants = dns.wants(wants);
    }
    let clock = Instant::now();
    // The verifier works on threads of its own while facts are read here.
    let loading = dataplane::Loading::start(args, probe.clone(), pins);
    let load = async {
        let programs = loading.programs().await?;
        let mut agent = dataplane::Agent::new(args, probe, pins, site, selection, told, programs)?;
        agent.start_on(&links.borrow())?;
        anyhow::Ok(agent)
    };
    let read = async {
        tokio::select! {
            source = args.facts.follow(&wants) => {
                tracing::debug!(read = ?clock.elapsed(), "facts are there");
                source.map(Some)
            }
            () = ends.wait() => Ok(None),
        }
    };
    // What is wrong with the facts is said after loading, which must not go on without anybody to clean up
    // after it.
    let (mut agent, source) = tokio::try_join!(load, async { Ok(read.await) })?;
    if let Some(source) = source? {
        let ended = follow(&mut agent, &mut dns, source, links, &mut ends, clock).await;
        if let Some(dns) = dns {
            hand_back(&mut agent, dns, clock).await?;
        }
        ended?;
    }
    agent.stop();
    Ok(())
}

/// New queries go to the cluster's DNS again, before the node's own server ends.
async fn hand_back(agent: &mut dataplane::Agent, mut dns: NodeDns, clock: Instant) -> Result<()> {
    let lameduck = dns.drain();
    if let Some(event) = agent.note_dns(dns.site()) {
        tracing::info!(?lameduck, "DNS goes back to the cluster's endpoints");
        agent.handle(event, since_ms(clock))?;
        tokio::time::sleep(lameduck).await;
    }
    dns.end();
    if let Some(event) = agent.note_dns(dns.site()) {
        agent.handle(event, since_ms(clock))?;
    }
    Ok(())
}

/// The loop: facts, retries and audits in; maps and the status file out.
async fn follow(
    agent: &mut dataplane::Agent,
    dns: &mut Option<NodeDns>,
    mut source: watch::Receiver<Update>,
    mut links: watch::Receiver<Arc<Links>>,
    ends: &mut Ends,
    clock: Instant,
) -> Result<()> {
    let mut audit = every(AUDIT_EVERY).await;
    let mut interfaces = every(INTERFACES_EVERY).await;
    let mut look = every(LOOK_EVERY).await;
    let mut event = Some(take_facts(&mut source, agent));
    let mut retry_in = None;
    loop {
        if let Some(event) = event {
            let facts = matches!(event, Event::Facts(_));
            retry_in = agent.handle(event, since_ms(clock))?;
            if let Some(dns) = dns.as_mut().filter(|_| facts) {
                // After the maps, which somebody may wait for in the middle of a connect.
                dns.feed(&source.borrow().clone());
                dns.listen(&agent.primary_addresses());
            }
        }
        let retry_at = tokio::time::Instant::now() + retry_in.unwrap_or(Duration::MAX / 4);
        event = tokio::select! {
            changed = source.changed() => match changed {
                Ok(()) => Some(take_facts(&mut source, agent)),
                Err(_) => bail!("the source of facts is no longer followed"),
            },
            Ok(()) = links.changed() => {
                let now = Arc::clone(&links.borrow_and_update());
                agent.note_links(&now)?
            }
            () = sleep_until(retry_at), if retry_in.is_some() => Some(Event::Retry),
            _ = audit.tick() => Some(Event::Audit),
            _ = interfaces.tick(), if agent.interfaces_may_grow() => {
                agent.look_for_interfaces()?;
                agent.note_site()
            }
            () = dns_changed(dns) => dns.as_ref().and_then(|dns| agent.note_dns(dns.site())),
            _ = look.tick(), if dns.is_some() => {
                if let Some(dns) = dns {
                    dns.reload(&source.borrow().clone());
                    dns.listen(&agent.primary_addresses());
                }
                None
            }
            () = agent.status_due() => {
                agent.write_status();
                None
            }
            () = agent.health_checks_due() => {
                agent.retry_health_checks();
                None
            }
            () = ends.wait() => return Ok(()),
        };
    }
}

/// Waits until the node's own DNS server is another one; for ever if there is none.
async fn dns_changed(dns: &mut Option<NodeDns>) {
    match dns {
        Some(dns) => dns.changed().await,
        None => std::future::pending().await,
    }
}

fn since_ms(clock: Instant) -> u64 {
    u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Local programs must not be given the ports that masqueraded packets and node ports use.
fn reserve_ports(args: &Args) {
    for (flag, ports) in args.traffic.own_ports() {
        match reserve::ports(ports.first, ports.last) {
            Ok(true) => tracing::info!(flag, ?ports, "added to net.ipv4.ip_local_reserved_ports"),
            Ok(false) => {}
            Err(error) => tracing::warn!(
                ?ports,
                %error,
                "local programs may take the ports of {flag}: add them to net.ipv4.ip_local_reserved_ports"
            ),
        }
    }
}

/// The signals that end the agent.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn new() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A timer whose first tick is a period away.
async fn every(period: Duration) -> tokio::time::Interval {
    let mut timer = interval(period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer.tick().await;
    timer
}

fn take_facts(source: &mut watch::Receiver<Update>, agent: &mut dataplane::Agent) -> Event {
    let update = source.borrow_and_update().clone();
    agent.note_source(&update);
    Event::Facts(Arc::clone(&update.snapshot))
}

/// Removes what an earlier agent left. Without anything there it is done already.
fn clean_up(places: &Places) -> Result<()> {
    if !pins::exist(&places.pin_dir) {
        tracing::info!(folder = %places.pin_dir.display(), "nothing to remove: no agent has pins there");
        return Ok(());
    }
    Pins::take(&places.pin_dir)?.remove()?;
    tracing::info!(folder = %places.pin_dir.display(), "programs and maps were removed");
    Ok(())
}
