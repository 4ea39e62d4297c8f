//! The Corefile in force, and its changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use seaway_cluster::Update;
use seaway_cluster::source::Wants;
use seaway_dns::block::Block;
use seaway_dns::corefile;
use seaway_dns::engine::Engine;
use seaway_dns::feed::Feed;
use seaway_dns::name::{self, Zone};
use seaway_dns::options::PodNames;
use seaway_dns::server::{Listener, Service, local_addresses};

/// How often the Corefile is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A Corefile with what was made of it.
pub(super) struct Configuration {
    file: PathBuf,
    /// The text that was last looked at, whether or not it was any good.
    text: String,
    blocks: Vec<Block>,
    feed: Feed,
}

impl Configuration {
    /// Reads the Corefile for the first time.
    pub(super) fn read(file: PathBuf) -> Result<Self> {
        let text = read(&file)?;
        let blocks = parse(&file, &text)?;
        let feed = Feed::new(&Engine::new(blocks.clone()));
        Ok(Self { file, text, blocks, feed })
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// An engine that knows nothing yet.
    pub(super) fn engine(&self) -> Engine {
        Engine::new(self.blocks.clone())
    }

    /// What the names of the Corefile are made from.
    pub(super) fn wants(&self) -> Wants {
        let mut options = self.blocks.iter().filter_map(|block| block.kubernetes.as_ref());
        let pods = options.any(|options| options.pods == PodNames::Verified);
        Wants::names(pods, false)
    }

    /// Makes facts visible to the next query.
    pub(super) fn feed(&mut self, service: &Service, facts: &Update) {
        self.feed.update(&service.engine(), &facts.snapshot, now_s());
    }

    /// How long to go on after being asked to stop.
    pub(super) fn lameduck(&self) -> Duration {
        let health = self.blocks.iter().filter_map(|block| block.health);
        health.map(|health| health.lameduck).max().unwrap_or_default()
    }

    /// Takes over a changed Corefile, or says why it cannot; listeners stay as they are.
    pub(super) fn reload(&mut self, service: &Service, facts: Option<&Update>) {
        if !self.blocks.iter().any(|block| block.reload) {
            return;
        }
        let failed = |error: anyhow::Error| {
            service.metrics().reload_failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!("the Corefile is not taken over, the last one stays in force: {error:#}");
        };
        let text = match read(&self.file) {
            Ok(text) if text == self.text => return,
            Ok(text) => text,
            Err(error) => return failed(error),
        };
        self.text.clone_from(&text);
        match parse(&self.file, &text).and_then(|blocks| self.compatible(blocks)) {
            Err(error) => failed(error),
            Ok(blocks) => {
                let engine = Engine::new(blocks.clone());
                let mut feed = Feed::new(&engine);
                if let Some(facts) = facts {
                    feed.update(&engine, &facts.snapshot, now_s());
                }
                service.replace(engine);
                (self.blocks, self.feed) = (blocks, feed);
                tracing::info!(file = %self.file.display(), "the Corefile has been taken over");
            }
        }
    }

    fn compatible(&self, blocks: Vec<Block>) -> Result<Vec<Block>> {
        let pages = |blocks: &[Block]| -> Vec<_> {
            blocks
                .iter()
                .map(|block| (block.health.map(|health| health.address), block.ready, block.prometheus))
                .collect()
        };
        let pods = |blocks: &[Block]| {
            let mut options = blocks.iter().filter_map(|block| block.kubernetes.as_ref());
            options.any(|options| options.pods == PodNames::Verified)
        };
        if pods(&blocks) && !pods(&self.blocks) {
            bail!("`pods verified` needs facts that are not followed yet, which needs a restart");
        }
        if Listener::of(&blocks)? != Listener::of(&self.blocks)? || pages(&blocks) != pages(&self.blocks) {
            bail!("it listens elsewhere, which needs a restart");
        }
        Ok(blocks)
    }

    /// What the `loop` plugin looks for: fails if queries to an upstream come back.
    pub(super) fn loops(&self, service: Arc<Service>) -> impl Future<Output = Result<()>> + use<> {
        let probed = self.blocks.iter().enumerate().filter(|(_, block)| block.detect_loop);
        let zones: Vec<(usize, Zone)> =
            probed.filter_map(|(chain, block)| Some((chain, block.zones.first()?.clone()))).collect();
        async move {
            for (chain, zone) in zones {
                let below = if zone.labels() == 0 { String::new() } else { zone.to_string() };
                let text = format!("{:x}.{:x}.{below}", std::process::id(), now_s());
                let probe = name::parse(&text).context("the probe for loops has no name")?;
                if service.comes_back(chain, &probe).await {
                    bail!(
                        "loop: queries that are forwarded from zone {zone} come back to this server; \
                         its upstreams must not lead here, as an /etc/resolv.conf often does"
                    );
                }
            }
            Ok(())
        }
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn parse(file: &Path, text: &str) -> Result<Vec<Block>> {
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut blocks = corefile::parse(text, dir).with_context(|| file.display().to_string())?;
    for block in &mut blocks {
        let addresses = if block.bind.is_empty() { local_addresses()? } else { block.bind.clone() };
        block.reached_at(&addresses);
    }
    Ok(blocks)
}

/// Now, in seconds since 1970.
fn now_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
