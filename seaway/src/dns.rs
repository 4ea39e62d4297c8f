//! `seaway dns`: the names of the cluster, configured by a Corefile.

mod descriptors;
mod query;
mod reload;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, Subcommand};
use seaway_cluster::Update;
use seaway_dns::block::Block;
use seaway_dns::server::{Listener, Server, ServerOptions, Service, descriptors_max};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::{facts, logging};
pub(crate) use descriptors::raise as raise_descriptors;
pub(crate) use reload::{Configuration, LOOK_EVERY};

/// `seaway dns`
#[derive(Clone, Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to serve, in the language of CoreDNS.
    #[arg(long, value_name = "FILE", env = "SEAWAY_COREFILE", required = true)]
    corefile: Option<PathBuf>,
    #[command(flatten)]
    facts: facts::Args,
    /// Threads that answer over UDP (default: one for each core).
    #[arg(long, value_name = "N", env = "SEAWAY_DNS_THREADS")]
    threads: Option<usize>,
    #[command(flatten)]
    log: logging::Args,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Read a Corefile and tell what it serves, without serving it.
    Check {
        /// The Corefile.
        file: PathBuf,
    },
    /// Answer one query, and tell which rule and which objects the answer comes from.
    Query(query::Args),
}

/// Runs until a signal ends it.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Some(Command::Check { file }) => return check(file.clone()),
        Some(Command::Query(args)) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            return runtime.context("cannot start the runtime")?.block_on(query::run(args));
        }
        None => {}
    }
    logging::start(&args.log).context("--log")?;
    let Some(corefile) = &args.corefile else { bail!("--corefile is needed") };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = ServerOptions { threads: args.threads.unwrap_or(cores) };
    let serving = serve(corefile.clone(), args.facts.clone(), options);
    runtime.context("cannot start the runtime")?.block_on(serving)
}

async fn serve(corefile: PathBuf, source: facts::Args, options: ServerOptions) -> Result<()> {
    // Handled before anything is served, so that no signal finds it half done.
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot handle signals")?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot handle signals")?;
    let mut configuration = Configuration::read(corefile)?;
    let listeners = Listener::of(configuration.blocks())?;
    descriptors::raise(descriptors_max(configuration.blocks(), &listeners, options.threads));
    let service = Service::new(configuration.engine());
    let wants = configuration.wants();
    let follows = configuration.follows(source.named());
    let mut following =
        Box::pin(
            async move { if follows { source.follow(&wants).await } else { std::future::pending().await } },
        );
    // Names of a cluster that has not been read in time fail instead of being denied; others are
    // answered.
    let early = tokio::select! {
        facts = &mut following => Some(facts?),
        () = tokio::time::sleep(configuration.startup()) => None,
        _ = interrupted.recv() => return Ok(()),
        _ = terminated.recv() => return Ok(()),
    };
    let mut facts = None;
    if let Some(updates) = early {
        let mut known = Facts { updates, reported: Arc::default() };
        configuration.feed(&service, &known.take());
        facts = Some(known);
    }
    let server = Server::start(&service, &listeners, options)?;
    for address in server.addresses() {
        tracing::info!(%address, "answering");
    }
    // It may take as long as an upstream does to answer.
    let mut loops = tokio::spawn(configuration.loops(Arc::clone(&service)));
    let mut probing = true;
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            found = &mut following, if facts.is_none() => {
                let mut known = Facts { updates: found?, reported: Arc::default() };
                configuration.feed(&service, &known.take());
                facts = Some(known);
            }
            changed = changed(&mut facts) => {
                changed.context("the source of facts is not followed any more")?;
                if let Some(facts) = &mut facts {
                    configuration.feed(&service, &facts.take());
                }
            }
            _ = look.tick() => configuration.reload(&service, facts.as_ref().map(Facts::current).as_ref()),
            outcome = &mut loops, if probing => {
                outcome.context("the search for loops ended early")??;
                probing = false;
            }
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
        }
    }
    service.stop();
    let lameduck = configuration.lameduck();
    tracing::info!(?lameduck, "stopping");
    tokio::time::sleep(lameduck).await;
    server.stop();
    Ok(())
}

/// Waits for the next change of what is known; for ever while nothing is.
async fn changed(facts: &mut Option<Facts>) -> Result<(), watch::error::RecvError> {
    match facts {
        Some(facts) => facts.updates.changed().await,
        None => std::future::pending().await,
    }
}

/// The facts, with their warnings told once.
struct Facts {
    updates: watch::Receiver<Update>,
    reported: Arc<[seaway_cluster::Warning]>,
}

impl Facts {
    fn take(&mut self) -> Update {
        let update = self.updates.borrow_and_update().clone();
        for warning in update.warnings.iter().filter(|warning| !self.reported.contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.reported = Arc::clone(&update.warnings);
        update
    }

    fn current(&self) -> Update {
        self.updates.borrow().clone()
    }
}

fn check(file: PathBuf) -> Result<()> {
    let configuration = Configuration::read(file)?;
    for block in configuration.blocks() {
        println!("{}, {}", block.place(), place(block));
        let zones: Vec<String> = block.zones.iter().map(ToString::to_string).collect();
        println!("  names in   {}", zones.join(" "));
        if let Some(options) = &block.kubernetes {
            let zones: Vec<String> = options.zones.iter().map(ToString::to_string).collect();
            println!("  cluster    {} ({} s to live)", zones.join(" "), options.ttl_s);
        }
        for forward in &block.forward {
            let upstreams: Vec<String> = forward.upstreams.iter().map(ToString::to_string).collect();
            println!("  forwarded  {} to {}", forward.zone, upstreams.join(" "));
        }
        if let Some(cache) = &block.cache {
            println!("  kept       answers from elsewhere, {} s at most", cache.success.max_s);
        }
        for line in others(block) {
            println!("  {line}");
        }
        let pages = [
            ("health", block.health.map(|health| health.address)),
            ("ready", block.ready.map(|ready| ready.address)),
            ("metrics", block.prometheus),
        ];
        for (page, address) in pages.into_iter().filter_map(|(page, address)| Some((page, address?))) {
            println!("  {page:<10} http://{address}/{page}");
        }
    }
    Ok(())
}

/// What the other plugins of a block know or do.
fn others(block: &Block) -> Vec<String> {
    let names = |zones: &[seaway_dns::name::Zone]| {
        zones.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let mut lines = Vec::new();
    if block.whoami {
        lines.push("whoami     who asks is told where from".to_owned());
    }
    lines.extend(block.external.as_ref().map(|external| format!("outside    {}", names(&external.zones))));
    lines.extend(
        block.autopath.as_ref().map(|autopath| format!("searched   {} for pods", names(&autopath.zones))),
    );
    lines.extend(block.files.iter().map(|file| format!("file       {}", file.origin)));
    lines.extend(block.hosts.as_ref().map(|hosts| format!("hosts      {} names", hosts.len())));
    lines.extend(block.template.iter().map(|template| format!("template   {}", names(&template.zones))));
    lines.extend(block.transfer.iter().map(|transfer| format!("transfer   {}", names(&transfer.zones))));
    if !block.rewrite.is_empty() {
        lines.push(format!("rewritten  by {} rules", block.rewrite.len()));
    }
    if !block.acl.is_empty() {
        lines.push(format!("barred     by {} lists", block.acl.len()));
    }
    lines
}

fn place(block: &Block) -> String {
    if block.bind.is_empty() {
        return "every address of this machine".to_owned();
    }
    block.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
