//! The `forward` plugin's options.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::lexer::Line;
use super::{Error, duration, zones};
use crate::forward::{ForwardOptions, Policy, UPSTREAMS_MAX};

const KNOWN: &str = "except, failfast_all_unhealthy_upstreams, force_tcp, health_check, max_concurrent, max_fails, policy, \
     prefer_udp and read_timeout";
const PORT: u16 = 53;

/// Reads the plugin; files of upstreams are relative to `dir`.
pub(super) fn parse(line: &Line, dir: &Path) -> Result<ForwardOptions, Error> {
    let [zone, to @ ..] = line.arguments() else { return Err(line.error("it takes a zone and upstreams")) };
    let mut zones = zones::parse(line, std::slice::from_ref(zone))?;
    let (Some(zone), true) = (zones.pop(), zones.is_empty()) else {
        return Err(line.error("its zone is one name, or a range that ends at a label's border"));
    };
    let mut upstreams = Vec::new();
    for word in to {
        upstreams.extend(upstream(line, word, dir)?);
    }
    if upstreams.is_empty() || upstreams.len() > UPSTREAMS_MAX {
        let count = upstreams.len();
        return Err(line.error(format!("there are {count} upstreams, not 1 to {UPSTREAMS_MAX}")));
    }
    let mut options = ForwardOptions::new(zone, upstreams);
    for option in &line.body {
        option.bare()?;
        match option.word() {
            "except" => options.except.extend(zones::parse(option, option.arguments())?),
            "force_tcp" => {
                option.none()?;
                options.force_tcp = true;
            }
            "prefer_udp" => {
                option.none()?;
                options.prefer_udp = true;
            }
            "max_fails" => options.fails_max = option.number(option.one("a number")?, 0, u32::MAX)?,
            "max_concurrent" => {
                options.concurrent_max = option.number(option.one("a number")?, 0, usize::MAX)?;
            }
            "read_timeout" => options.read_timeout = duration::parse(option, option.one("a duration")?)?,
            "health_check" => options.probe_interval = duration::parse(option, option.one("a duration")?)?,
            "policy" => options.policy = policy(option)?,
            "failfast_all_unhealthy_upstreams" => {
                option.none()?;
                options.failfast = true;
            }
            _ => return Err(option.unknown(KNOWN)),
        }
    }
    if options.force_tcp && options.prefer_udp {
        return Err(line.error("force_tcp and prefer_udp exclude each other"));
    }
    Ok(options)
}

fn policy(line: &Line) -> Result<Policy, Error> {
    match line.one("random, round_robin or sequential")? {
        "random" => Ok(Policy::Random),
        "round_robin" => Ok(Policy::RoundRobin),
        "sequential" => Ok(Policy::Sequential),
        other => Err(line.error(format!("{other:?} is none of random, round_robin and sequential"))),
    }
}

/// An address, an address with its port, or a file in the form of `resolv.conf`.
fn upstream(line: &Line, word: &str, dir: &Path) -> Result<Vec<SocketAddr>, Error> {
    let plain = word.strip_prefix("dns://").unwrap_or(word);
    if plain.contains("://") {
        return Err(line.error(format!("{word:?}: upstreams are asked in plain DNS only, not encrypted")));
    }
    if let Ok(address) = plain.parse() {
        return Ok(vec![address]);
    }
    if let Ok(address) = plain.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, PORT)]);
    }
    let path = dir.join(plain);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        line.error(format!("{word:?} is no address, and as a file it cannot be read: {error}"))
    })?;
    let servers = text.lines().filter_map(|text| text.trim().strip_prefix("nameserver"));
    let addresses: Vec<SocketAddr> = servers
        .filter_map(|server| server.trim().parse().ok())
        .map(|address| SocketAddr::new(address, PORT))
        .collect();
    if addresses.is_empty() {
        return Err(line.error(format!("{} names no nameserver", path.display())));
    }
    Ok(addresses)
}
