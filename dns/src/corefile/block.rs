//! One server block: its zones and listeners, and its plugins.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::lexer::{Line, RawBlock};
use super::{Error, duration, forward, kubernetes, zones};
use crate::block::{Block, Health};
use crate::cache::{CacheOptions, Limits};
use crate::name::Zone;
use crate::wire::UDP_PAYLOAD;

const PORT: u16 = 53;
const HEALTH: &str = ":8080";
const READY: &str = ":8181";
const PROMETHEUS: &str = "localhost:9153";
const BUFSIZE: (u16, u16) = (512, 4096);
const CACHE_TTL_MAX_S: u32 = 86_400;
const KNOWN: &str = "bind, bufsize, cache, errors, forward, health, kubernetes, loadbalance, log, loop, prometheus, \
                     ready and reload";

/// Reads a block; one whose names have several ports becomes several.
pub(super) fn parse(raw: &RawBlock, dir: &Path) -> Result<Vec<Block>, Error> {
    let mut blocks: Vec<Block> = Vec::new();
    for word in raw.head.words.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty()) {
        let (zones, port) = place(&raw.head, word)?;
        match blocks.iter_mut().find(|block| block.port == port) {
            Some(block) => block.zones.extend(zones),
            None => blocks.push(Block::new(zones, port)),
        }
    }
    for block in &mut blocks {
        let mut seen: Vec<&str> = Vec::new();
        for line in &raw.plugins {
            if line.word() != "forward" && seen.contains(&line.word()) {
                return Err(line.error("it is there already in this server block"));
            }
            seen.push(line.word());
            plugin(block, line, dir)?;
        }
    }
    Ok(blocks)
}

/// A zone and a port: `cluster.local`, `.:53`, `dns://example.org:5300`, `10.0.0.0/8`.
fn place(head: &Line, word: &str) -> Result<(Vec<Zone>, u16), Error> {
    let plain = word.strip_prefix("dns://").unwrap_or(word);
    if plain.contains("://") {
        return Err(head.error(format!("{word:?}: only plain DNS is served, without a scheme or as dns://")));
    }
    let (name, port) = match plain.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, head.number(port, 1, u16::MAX)?),
        _ => (plain, PORT),
    };
    let name = if name.is_empty() { "." } else { name };
    Ok((zones::parse(head, &[name.to_owned()])?, port))
}

fn plugin(block: &mut Block, line: &Line, dir: &Path) -> Result<(), Error> {
    match line.word() {
        "kubernetes" => block.kubernetes = Some(Arc::new(kubernetes::parse(line, &block.zones)?)),
        "forward" => {
            let options = forward::parse(line, dir)?;
            if block.forward.iter().any(|other| other.zone == options.zone) {
                return Err(line.error(format!("zone {} is forwarded already", options.zone)));
            }
            block.forward.push(options);
        }
        "cache" => block.cache = Some(cache(line)?),
        "health" => block.health = Some(health(line)?),
        "ready" => {
            line.bare()?;
            block.ready = Some(listener(line, READY)?);
        }
        "prometheus" => {
            line.bare()?;
            block.prometheus = Some(listener(line, PROMETHEUS)?);
        }
        "bind" => {
            line.bare()?;
            for word in line.arguments() {
                let address = word.parse().map_err(|_| line.error(format!("{word:?} is not an address")))?;
                block.bind.push(address);
            }
        }
        "bufsize" => {
            line.bare()?;
            block.bufsize = match line.arguments() {
                [] => UDP_PAYLOAD,
                _ => line.number(line.one("octets")?, BUFSIZE.0, BUFSIZE.1)?,
            };
        }
        "errors" => block.errors = flag(line)?,
        "log" => block.log = flag(line)?,
        "loadbalance" => block.loadbalance = loadbalance(line)?,
        "loop" => block.detect_loop = flag(line)?,
        "reload" => block.reload = flag(line)?,
        other => {
            let problem = format!("there is no plugin {other:?} here (there are {KNOWN})");
            return Err(line.error(problem));
        }
    }
    Ok(())
}

/// A plugin that is there or not.
fn flag(line: &Line) -> Result<bool, Error> {
    line.none()?;
    line.bare()?;
    Ok(true)
}

fn loadbalance(line: &Line) -> Result<bool, Error> {
    line.bare()?;
    match line.arguments() {
        [] => Ok(true),
        [policy] if policy == "round_robin" => Ok(true),
        _ => Err(line.error("the only policy is round_robin")),
    }
}

fn health(line: &Line) -> Result<Health, Error> {
    let mut health = Health { address: listener(line, HEALTH)?, lameduck: Duration::ZERO };
    for option in &line.body {
        match option.word() {
            "lameduck" => health.lameduck = duration::parse(option, option.one("a duration")?)?,
            _ => return Err(option.unknown("lameduck")),
        }
    }
    Ok(health)
}

/// `:8080`, `localhost:8080` or `127.0.0.1:8080`.
fn listener(line: &Line, default: &str) -> Result<SocketAddr, Error> {
    let text = match line.arguments() {
        [] => default,
        _ => line.one("an address to listen on")?,
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(|| line.error(format!("{text:?} has no port")))?;
    let port = line.number(port, 0, u16::MAX)?;
    let host: IpAddr = match host {
        "" => Ipv6Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        other => other
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|_| line.error(format!("{other:?} is not an address to listen on")))?,
    };
    Ok(SocketAddr::new(host, port))
}

fn cache(line: &Line) -> Result<CacheOptions, Error> {
    let mut options = CacheOptions::default();
    let mut words = line.arguments();
    if let [first, rest @ ..] = words
        && let Ok(ttl_s) = first.parse::<u32>()
    {
        let ttl_s = line.number(&ttl_s.to_string(), 1, CACHE_TTL_MAX_S)?;
        options.success.max_s = ttl_s.min(options.success.max_s);
        options.denial.max_s = ttl_s.min(options.denial.max_s);
        words = rest;
    }
    options.zones = zones::parse(line, words)?;
    for option in &line.body {
        option.bare()?;
        match (option.word(), option.arguments()) {
            ("success", words) => limits(option, words, &mut options.success)?,
            ("denial", words) => limits(option, words, &mut options.denial)?,
            ("disable", [sort, names @ ..]) => {
                let limits = match sort.as_str() {
                    "success" => &mut options.success,
                    "denial" => &mut options.denial,
                    _ => return Err(option.error("disable takes success or denial, and zones")),
                };
                if names.is_empty() {
                    limits.capacity = 0;
                }
                limits.disabled.extend(zones::parse(option, names)?);
            }
            ("servfail", [time]) => {
                let time = duration::parse(option, time)?.min(Duration::from_secs(300));
                options.failure_s = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
            }
            ("serve_stale", []) => {}
            ("serve_stale", [time]) => options.stale = duration::parse(option, time)?,
            _ => {
                return Err(
                    option.unknown("denial, disable, serve_stale DURATION, servfail DURATION and success")
                );
            }
        }
    }
    Ok(options)
}

/// `CAPACITY [TTL [MINTTL]]`.
fn limits(line: &Line, words: &[String], limits: &mut Limits) -> Result<(), Error> {
    let [capacity, times @ ..] = words else {
        return Err(line.error("it takes a capacity, and a longest and a shortest time in seconds"));
    };
    limits.capacity = line.number(capacity, 0, usize::MAX)?;
    if let [max, ..] = times {
        limits.max_s = line.number(max, 1, CACHE_TTL_MAX_S)?;
    }
    if let [_, min, ..] = times {
        limits.min_s = line.number(min, 0, limits.max_s)?;
    }
    limits.min_s = limits.min_s.min(limits.max_s);
    if times.len() > 2 { Err(line.error("it takes three numbers at most")) } else { Ok(()) }
}
