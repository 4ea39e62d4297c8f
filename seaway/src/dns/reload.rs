//! The Corefile in force, and its changes.

use std::hash::{DefaultHasher, Hasher};
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
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A Corefile with what was made of it.
pub(crate) struct Configuration {
    file: PathBuf,
    /// The text that was last looked at, whether or not it was any good.
    text: String,
    /// What the files that it names held then.
    named: Vec<Option<u64>>,
    blocks: Vec<Block>,
    feed: Feed,
    /// Somebody follows the facts.
    followed: bool,
}

impl Configuration {
    /// Reads the Corefile for the first time.
    pub(crate) fn read(file: PathBuf) -> Result<Self> {
        let text = read(&file)?;
        let blocks = parse(&file, &text)?;
        let feed = Feed::new(&Engine::new(blocks.clone()));
        let named = contents(&blocks);
        Ok(Self { file, text, named, blocks, feed, followed: true })
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// An engine that knows nothing yet.
    pub(crate) fn engine(&self) -> Engine {
        Engine::new(self.blocks.clone())
    }

    /// What the names of the Corefile are made from.
    pub(crate) fn wants(&self) -> Wants {
        let mut options = self.blocks.iter().filter_map(|block| block.kubernetes.as_ref());
        let pods = options.any(|options| options.pods == PodNames::Verified);
        Wants { imports: shares(&self.blocks), ..Wants::names(pods, false) }
    }

    /// Makes facts visible to the next query.
    pub(crate) fn feed(&mut self, service: &Service, facts: &Update) {
        service.follow(facts);
        self.feed.update(&service.engine(), &facts.snapshot, now_s());
        service.metrics().programming.note(&facts.snapshot, facts.triggers.take(), SystemTime::now());
    }

    /// How long the first facts are waited for before anything is answered.
    pub(crate) fn startup(&self) -> Duration {
        let options = self.blocks.iter().filter_map(|block| block.kubernetes.as_ref());
        options.map(|options| options.startup).max().unwrap_or_default()
    }

    /// Whether facts are to be followed: a server without names of a cluster needs none, unless a source is
    /// `named`.
    pub(crate) fn follows(&mut self, named: bool) -> bool {
        self.followed = named || knows_cluster(&self.blocks);
        self.followed
    }

    /// How long to go on after being asked to stop.
    pub(crate) fn lameduck(&self) -> Duration {
        let health = self.blocks.iter().filter_map(|block| block.health);
        health.map(|health| health.lameduck).max().unwrap_or_default()
    }

    /// Takes over a changed Corefile, or says why it cannot; listeners stay as they are.
    pub(crate) fn reload(&mut self, service: &Service, facts: Option<&Update>) {
        let failed = |error: anyhow::Error| {
            service.metrics().reload_failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!("the Corefile is not taken over, the last one stays in force: {error:#}");
        };
        let text = if self.blocks.iter().any(|block| block.reload) {
            match read(&self.file) {
                Ok(text) => text,
                Err(error) => return failed(error),
            }
        } else {
            // Without `reload`, only the files that it names are followed.
            self.text.clone()
        };
        let named = contents(&self.blocks);
        if text == self.text && named == self.named {
            return;
        }
        self.text.clone_from(&text);
        self.named = named;
        match parse(&self.file, &text).and_then(|blocks| self.compatible(blocks)) {
            Err(error) => failed(error),
            Ok(blocks) => {
                let engine = Engine::new(blocks.clone());
                let mut feed = Feed::new(&engine);
                if let Some(facts) = facts {
                    feed.update(&engine, &facts.snapshot, now_s());
                }
                service.replace(engine);
                self.named = contents(&blocks);
                (self.blocks, self.feed) = (blocks, feed);
                tracing::info!(file = %self.file.display(), "the Corefile has been taken over");
            }
        }
    }

    fn compatible(&self, blocks: Vec<Block>) -> Result<Vec<Block>> {
        let pages = |blocks: &[Block]| -> Vec<_> {
            blocks
                .iter()
                .map(|block| {
                    let [health, ready] =
                        [block.health.map(|health| health.address), block.ready.map(|ready| ready.address)];
                    (health, ready, block.prometheus)
                })
                .collect()
        };
        let pods = |blocks: &[Block]| {
            let mut options = blocks.iter().filter_map(|block| block.kubernetes.as_ref());
            options.any(|options| options.pods == PodNames::Verified)
        };
        if pods(&blocks) && !pods(&self.blocks) {
            bail!("`pods verified` needs facts that are not followed yet, which needs a restart");
        }
        if knows_cluster(&blocks) && !self.followed {
            bail!("`kubernetes` needs facts that are not followed yet, which needs a restart");
        }
        if shares(&blocks) && !shares(&self.blocks) {
            bail!("`multicluster` needs facts that are not followed yet, which needs a restart");
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

/// What the files that blocks name hold, as far as that matters; `None` for one that cannot be read.
fn contents(blocks: &[Block]) -> Vec<Option<u64>> {
    let hash = |file: &PathBuf| {
        let octets = if file.is_dir() { names_in(file) } else { std::fs::read(file).ok()? };
        let mut hasher = DefaultHasher::new();
        hasher.write(&octets);
        Some(hasher.finish())
    };
    blocks.iter().flat_map(|block| &block.watched).map(hash).collect()
}

/// The names of a folder's entries, in order.
fn names_in(folder: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    names.sort_unstable();
    names.iter().flat_map(|name| [name.as_encoded_bytes(), b"/"].concat()).collect()
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Whether there are names of a cluster.
fn knows_cluster(blocks: &[Block]) -> bool {
    blocks.iter().any(|block| block.kubernetes.is_some())
}

/// Whether there are names of Services that several clusters share.
fn shares(blocks: &[Block]) -> bool {
    let mut options = blocks.iter().filter_map(|block| block.kubernetes.as_ref());
    options.any(|options| !options.multicluster.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for the A records of `h.example`.
    const QUERY: &[u8] = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01h\x07example\0\0\x01\0\x01";

    /// The last octet of the answer, after each edit of a hosts file.
    fn answers(option: &str, edits: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let (corefile, hosts) = (dir.path().join("Corefile"), dir.path().join("hosts"));
        let write = |last: u8| std::fs::write(&hosts, format!("192.0.2.{last} h.example\n")).unwrap();
        std::fs::write(&corefile, format!(".:5399 {{\nbind 127.0.0.1\nhosts hosts {{\n{option}\n}}\n}}\n"))
            .unwrap();
        write(1);
        let mut configuration = Configuration::read(corefile).unwrap();
        let service = Service::new(configuration.engine());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut found = Vec::new();
        for last in edits {
            write(*last);
            configuration.reload(&service, None);
            let answer = service.answer(QUERY, 5399, ([127, 0, 0, 1], 1).into());
            found.extend(runtime.block_on(answer).and_then(|(answer, _)| answer.last().copied()));
        }
        found
    }

    #[test]
    fn imported_files_take_effect_when_they_come_and_when_they_change() {
        let dir = tempfile::tempdir().unwrap();
        let (corefile, folder) = (dir.path().join("Corefile"), dir.path().join("more"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&corefile, ".:5399 {\nbind 127.0.0.1\nimport more/*.override\n}\n").unwrap();
        let mut configuration = Configuration::read(corefile).unwrap();
        let service = Service::new(configuration.engine());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut answers = |last: u8| {
            let text = format!("hosts {{\n192.0.2.{last} h.example\n}}\n");
            std::fs::write(folder.join("hosts.override"), text).unwrap();
            configuration.reload(&service, None);
            let answer = service.answer(QUERY, 5399, ([127, 0, 0, 1], 1).into());
            runtime.block_on(answer).and_then(|(answer, _)| answer.last().copied())
        };
        assert_eq!([1, 2].map(&mut answers), [Some(1), Some(2)]);
    }

    #[test]
    fn edits_of_named_files_take_effect() {
        assert_eq!(answers("ttl 5", &[1, 2, 2, 3]), [1, 2, 2, 3]);
        assert_eq!(answers("reload 0s", &[1, 2, 3]), [1, 1, 1]);
    }
}
