//! One server block: its zones and listeners, and its plugins.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::lexer::{Line, RawBlock};
use super::{Error, acl, cache, duration, forward, kubernetes, log, names, rewrite, secure, template, zones};
use crate::block::{Block, Health, Place, Ready, Scheme};
use crate::compat;
use crate::forward::ForwardOptions;
use crate::name::Zone;
use crate::options::PodNames;
use crate::plugin::autopath::Source;
use crate::server::addresses_of;
use crate::wire::UDP_PAYLOAD;

const PORT: u16 = 53;
/// How queries come, and to which port if none is named.
const SCHEMES: [(Scheme, u16); 4] =
    [(Scheme::Dns, PORT), (Scheme::Tls, 853), (Scheme::Https, 443), (Scheme::Quic, 853)];
const HEALTH: &str = ":8080";
const READY: &str = ":8181";
const PROMETHEUS: &str = "localhost:9153";
const BUFSIZE: (u16, u16) = (512, 4096);
const KNOWN: &str = "acl, autopath, bind, bufsize, cache, compat, errors, file, forward, health, hosts, k8s_external, kubernetes, \
                     loadbalance, log, loop, minimal, prometheus, ready, reload, rewrite, template, tls, trace, \
                     transfer and whoami";
/// Plugins that a block may have several of.
const REPEATED: [&str; 8] = ["acl", "bind", "file", "forward", "log", "rewrite", "template", "transfer"];

/// Reads a block; one whose names have several ports becomes several.
pub(super) fn parse(raw: &RawBlock, dir: &Path) -> Result<Vec<Block>, Error> {
    let mut blocks: Vec<Block> = Vec::new();
    for word in raw.head.words.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty()) {
        let (zones, place) = place(&raw.head, word)?;
        match blocks.iter_mut().find(|block| block.place() == place) {
            Some(block) => block.zones.extend(zones),
            None => blocks.push(Block::new(zones, place)),
        }
    }
    for block in &mut blocks {
        let mut seen: Vec<&str> = Vec::new();
        for line in &raw.plugins {
            if !REPEATED.contains(&line.word()) && seen.contains(&line.word()) {
                return Err(line.error("it is there already in this server block"));
            }
            seen.push(line.word());
            plugin(block, line, dir)?;
            block.watched.extend(names::watched(line, dir));
        }
        seen.sort_unstable();
        seen.dedup();
        block.plugins = seen.into_iter().map(str::to_owned).collect();
        block.digest = Some(raw.digest());
        finish(block, raw)?;
    }
    Ok(blocks)
}

/// What plugins have to do with each other.
fn finish(block: &mut Block, raw: &RawBlock) -> Result<(), Error> {
    if block.scheme != Scheme::Dns && block.tls.is_none() {
        let scheme = block.scheme.as_str();
        return Err(raw
            .head
            .error(format!("{scheme}:// needs the plugin tls with a certificate and its key")));
    }
    let line_of = |word: &str| raw.plugins.iter().find(|line| line.word() == word).unwrap_or(&raw.head);
    if let Some(external) = &block.external {
        let Some(options) = &mut block.kubernetes else {
            return Err(line_of("k8s_external").error("it needs the kubernetes plugin beside it"));
        };
        Arc::make_mut(options).external_ttl_s = Some(external.ttl_s);
    }
    let by_pod = block.autopath.as_ref().is_some_and(|autopath| matches!(autopath.source, Source::Pods(_)));
    let verified = block.kubernetes.as_ref().is_some_and(|options| options.pods == PodNames::Verified);
    if by_pod && !verified {
        let problem = "@kubernetes needs the kubernetes plugin beside it, with `pods verified`";
        return Err(line_of("autopath").error(problem));
    }
    Ok(())
}

/// A zone and a port: `cluster.local`, `.:53`, `dns://example.org:5300`, `10.0.0.0/8`.
fn place(head: &Line, word: &str) -> Result<(Vec<Zone>, Place), Error> {
    let (scheme, plain) = match word.split_once("://") {
        None => (Scheme::Dns, word),
        Some((scheme, rest)) => {
            let known = SCHEMES.iter().find(|(known, _)| known.as_str() == scheme);
            let problem = || head.error(format!("{word:?}: there are dns://, tls://, https:// and quic://"));
            (known.ok_or_else(problem)?.0, rest)
        }
    };
    let default = SCHEMES.iter().find(|(known, _)| *known == scheme).map_or(PORT, |(_, port)| *port);
    let (name, port) = match plain.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, head.number(port, 1, u16::MAX)?),
        _ => (plain, default),
    };
    let name = if name.is_empty() { "." } else { name };
    Ok((zones::parse(head, &[name.to_owned()])?, Place { scheme, port }))
}

fn plugin(block: &mut Block, line: &Line, dir: &Path) -> Result<(), Error> {
    match line.word() {
        "kubernetes" => block.kubernetes = Some(Arc::new(kubernetes::parse(line, &block.zones)?)),
        "forward" => {
            let options = forward::parse(line, dir)?;
            let again = |other: &&ForwardOptions| other.zone == options.zone && !other.has_next();
            if block.forward.iter().any(|other| again(&other)) {
                return Err(line.error(format!("zone {} is forwarded already", options.zone)));
            }
            block.forward.push(options);
        }
        "tls" => block.tls = Some(Arc::new(secure::parse(line, block.scheme, dir)?)),
        "cache" => block.cache = Some(cache::parse(line)?),
        "health" => block.health = Some(health(line)?),
        "ready" => {
            block.ready = Some(ready(line)?);
        }
        "prometheus" => {
            line.bare()?;
            block.prometheus = Some(listener(line, PROMETHEUS)?);
        }
        "bind" => bind(block, line)?,
        "bufsize" => {
            line.bare()?;
            block.bufsize = match line.arguments() {
                [] => UDP_PAYLOAD,
                _ => line.number(line.one("octets")?, BUFSIZE.0, BUFSIZE.1)?,
            };
        }
        "acl" => block.acl.push(acl::parse(line, &block.zones)?),
        "transfer" => block.transfer.push(acl::transfer(line, &block.zones)?),
        "rewrite" => block.rewrite.push(rewrite::parse(line)?),
        "template" => block.template.push(template::parse(line, &block.zones)?),
        "hosts" => block.hosts = Some(Arc::new(names::hosts(line, dir, &block.zones)?)),
        "file" => block.files.extend(names::file(line, dir, &block.zones)?.into_iter().map(Arc::new)),
        "k8s_external" => block.external = Some(names::external(line, &block.zones)?),
        "autopath" => block.autopath = Some(names::autopath(line, dir, &block.zones)?),
        "compat" => {
            line.bare()?;
            let names = line.arguments();
            if names.is_empty() {
                return Err(line.error("compat takes at least one name, or all"));
            }
            block.compat = compat::Messages::parse(names).map_err(|error| line.error(error.to_string()))?;
        }
        "minimal" => block.minimal = flag(line)?,
        "whoami" => block.whoami = flag(line)?,
        "trace" => {
            tracing::warn!(line = line.number, "trace: there is no tracing here; the plugin is ignored");
        }
        "errors" => block.errors = Some(log::errors(line)?),
        "log" => block.log.push(log::log(line)?),
        "loadbalance" => block.loadbalance = loadbalance(line)?,
        "loop" => block.detect_loop = flag(line)?,
        "reload" => block.reload = reload(line)?,
        other => {
            let problem = format!("there is no plugin {other:?} here (there are {KNOWN})");
            return Err(line.error(problem));
        }
    }
    Ok(())
}

/// A plugin that is there or not.
/// `bind ADDRESS|INTERFACE... { except ADDRESS|INTERFACE... }`, any number of times.
fn bind(block: &mut Block, line: &Line) -> Result<(), Error> {
    let mut addresses = Vec::new();
    for word in line.arguments() {
        addresses.extend(bound(line, word)?);
    }
    for option in &line.body {
        option.bare()?;
        if option.word() != "except" {
            return Err(option.unknown("except"));
        }
        for word in option.arguments() {
            let out = bound(option, word)?;
            addresses.retain(|address| !out.contains(address));
        }
    }
    if addresses.is_empty() {
        return Err(line.error("it leaves no address to listen on"));
    }
    addresses.retain(|address| !block.bind.contains(address));
    block.bind.append(&mut addresses);
    Ok(())
}

/// An address, or those that an interface has now.
fn bound(line: &Line, word: &str) -> Result<Vec<IpAddr>, Error> {
    if let Ok(address) = word.parse() {
        return Ok(vec![address]);
    }
    let addresses = addresses_of(word).map_err(|error| line.error(error.to_string()))?;
    if addresses.is_empty() {
        return Err(line.error(format!("{word:?} is neither an address nor an interface that has one")));
    }
    Ok(addresses)
}

/// `reload [INTERVAL] [JITTER]`: files are looked at every two seconds, whatever it says.
fn reload(line: &Line) -> Result<bool, Error> {
    line.bare()?;
    if line.arguments().len() > 2 {
        return Err(line.error("it takes an interval and a jitter"));
    }
    for word in line.arguments() {
        duration::parse(line, word)?;
    }
    Ok(true)
}

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

fn ready(line: &Line) -> Result<Ready, Error> {
    let mut ready = Ready { address: listener(line, READY)?, once: false };
    for option in &line.body {
        match option.word() {
            "monitor" => {
                ready.once = match option.one("until-ready or continuously")? {
                    "until-ready" => true,
                    "continuously" => false,
                    other => {
                        let problem = format!("monitor is until-ready or continuously, not {other:?}");
                        return Err(option.error(problem));
                    }
                };
            }
            _ => return Err(option.unknown("monitor")),
        }
    }
    Ok(ready)
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
