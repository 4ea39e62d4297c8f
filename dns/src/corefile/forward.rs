//! The `forward` plugin's options.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::lexer::Line;
use super::{Error, duration, rcode, zones};
use crate::block::Scheme;
use crate::forward::{ForwardOptions, IDLE_MAX, Policy, Target, UPSTREAMS_MAX};
use crate::tls;

const KNOWN: &str = "except, expire, failfast_all_unhealthy_upstreams, failover, force_tcp, health_check, \
     max_concurrent, max_connect_attempts, max_fails, max_idle_conns, next, next_on_nodata, policy, prefer_udp, \
     read_timeout, tls and tls_servername";
const PORT: u16 = 53;
/// How upstreams are asked that prove who they are, and at which port if none is named.
const ENCRYPTED: [(Scheme, u16); 3] = [(Scheme::Tls, 853), (Scheme::Https, 443), (Scheme::Quic, 853)];
const PATH: &str = "/dns-query";

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
    let root = zones::or_root(line, &[])?.remove(0);
    let mut options = ForwardOptions::new(zone, upstreams, root);
    let (mut name, mut files) = (None, None);
    for line in &line.body {
        line.bare()?;
        match line.word() {
            "tls" => files = Some(line),
            "tls_servername" => name = Some(server_name(line, line.one("a name")?)?),
            _ => option(&mut options, line)?,
        }
    }
    encrypt(&mut options, line, name.as_ref(), files, dir)?;
    Ok(options)
}

fn option(options: &mut ForwardOptions, line: &Line) -> Result<(), Error> {
    let flag = || line.none().map(|()| true);
    match line.word() {
        "except" => options.except.extend(zones::parse(line, line.arguments())?),
        "force_tcp" => options.force_tcp = flag()?,
        "prefer_udp" => options.prefer_udp = flag()?,
        "failfast_all_unhealthy_upstreams" => options.failfast = flag()?,
        "max_fails" => options.fails_max = line.number(line.one("a number")?, 0, u32::MAX)?,
        "max_concurrent" => options.concurrent_max = line.number(line.one("a number")?, 0, usize::MAX)?,
        "max_idle_conns" => {
            let most = line.number(line.one("a number")?, 0, usize::MAX)?;
            options.idle_max = if most == 0 { IDLE_MAX } else { most.min(IDLE_MAX) };
        }
        "read_timeout" => options.read_timeout = duration::parse(line, line.one("a duration")?)?,
        "expire" => options.expire = duration::parse(line, line.one("a duration")?)?,
        "health_check" => health_check(options, line)?,
        "policy" => options.policy = policy(line)?,
        "failover" => options.failover.extend(rcode::parse_all(line)?),
        "max_connect_attempts" => options.attempts_max = line.number(line.one("a number")?, 0, usize::MAX)?,
        "next_on_nodata" => options.next_on_nodata = flag()?,
        "next" => options.next.extend(rcode::parse_all(line)?),
        _ => return Err(line.unknown(KNOWN)),
    }
    Ok(())
}

/// `health_check DURATION [no_rec] [domain NAME]`.
fn health_check(options: &mut ForwardOptions, line: &Line) -> Result<(), Error> {
    let [interval, rest @ ..] = line.arguments() else {
        return Err(line.error("it takes a duration, and then no_rec, and domain with a name"));
    };
    let interval = duration::parse(line, interval)?;
    if interval < Duration::from_millis(1) {
        return Err(line.error("probes without a pause would be a flood"));
    }
    options.probe.interval = interval;
    let mut rest = rest;
    while let [word, after @ ..] = rest {
        rest = match (word.as_str(), after) {
            ("no_rec", after) => {
                options.probe.recursion = false;
                after
            }
            ("domain", [name, after @ ..]) => {
                options.probe.domain = zones::parse(line, std::slice::from_ref(name))?.remove(0);
                after
            }
            _ => return Err(line.error(format!("{word:?} is neither no_rec nor domain with a name"))),
        };
    }
    Ok(())
}

fn policy(line: &Line) -> Result<Policy, Error> {
    match line.one("random, round_robin or sequential")? {
        "random" => Ok(Policy::Random),
        "round_robin" => Ok(Policy::RoundRobin),
        "sequential" => Ok(Policy::Sequential),
        other => Err(line.error(format!("{other:?} is none of random, round_robin and sequential"))),
    }
}

/// `tls [CERTIFICATE KEY] [AUTHORITIES]` and `tls_servername NAME`, for the upstreams over TLS.
fn encrypt(
    options: &mut ForwardOptions,
    line: &Line,
    name: Option<&ServerName<'static>>,
    files: Option<&Line>,
    dir: &Path,
) -> Result<(), Error> {
    let encrypted = options.upstreams.iter().any(|target| target.name.is_some());
    let Some(line) = files.or_else(|| encrypted.then_some(line)) else { return Ok(()) };
    let at = |file: &String| dir.join(file);
    let (own, authorities) = match files.map(Line::arguments).unwrap_or_default() {
        [] => (None, None),
        [authorities] => (None, Some(at(authorities))),
        [certificate, key] => (Some((at(certificate), at(key))), None),
        [certificate, key, authorities] => (Some((at(certificate), at(key))), Some(at(authorities))),
        _ => return Err(line.error("it takes a certificate and its key, authorities, or all three")),
    };
    let own = own.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    let config = tls::client(own, authorities.as_deref()).map_err(|error| line.error(error.to_string()))?;
    options.tls = Some(Arc::new(config));
    for target in &mut options.upstreams {
        if let (Some(of_target), Some(name)) = (&mut target.name, name) {
            // A name that stands beside an address is that upstream's own.
            if matches!(of_target, ServerName::IpAddress(_)) {
                *of_target = name.clone();
            }
        }
    }
    Ok(())
}

fn server_name(line: &Line, name: &str) -> Result<ServerName<'static>, Error> {
    let name = ServerName::try_from(name.to_owned());
    name.map_err(|_| line.error("the name of a server is that of a host, or an address"))
}

/// An address, an address with its port, one that is asked over something encrypted, or a file in the form of `resolv.conf`.
fn upstream(line: &Line, word: &str, dir: &Path) -> Result<Vec<Target>, Error> {
    let secure = ENCRYPTED.iter().find_map(|(scheme, port)| {
        let rest = word.strip_prefix(scheme.as_str())?.strip_prefix("://")?;
        Some((*scheme, *port, rest))
    });
    if let Some((scheme, port, rest)) = secure {
        return Ok(vec![encrypted(line, word, (scheme, port), rest)?]);
    }
    let plain = word.strip_prefix("dns://").unwrap_or(word);
    if plain.contains("://") {
        return Err(
            line.error(format!("{word:?}: upstreams are asked over dns://, tls://, https:// or quic://"))
        );
    }
    if let Some(address) = address(plain, PORT) {
        return Ok(vec![address.into()]);
    }
    let path = dir.join(plain);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        line.error(format!(
            "{word:?} is no address (names of hosts are not looked up), and as a file it cannot be read: {error}"
        ))
    })?;
    let servers = text.lines().filter_map(|text| text.trim().strip_prefix("nameserver"));
    let addresses: Vec<Target> =
        servers.filter_map(|server| Some(address(server.trim(), PORT)?.into())).collect();
    if addresses.is_empty() {
        return Err(line.error(format!("{} names no nameserver", path.display())));
    }
    Ok(addresses)
}

/// `ADDRESS[:PORT][/PATH][%NAME]` or, as CoreDNS has it, `ADDRESS%NAME[:PORT][/PATH]`; the path is for HTTPS.
fn encrypted(line: &Line, word: &str, (scheme, port): (Scheme, u16), rest: &str) -> Result<Target, Error> {
    let (before, name, after) = match rest.split_once('%') {
        None => (rest, None, ""),
        Some((before, name)) => {
            let (name, after) = name.split_at(name.find([':', '/']).unwrap_or(name.len()));
            (before, Some(name), after)
        }
    };
    // The port must not become a part of the address.
    let bare = before.parse::<Ipv6Addr>().is_ok() && !after.is_empty();
    let place = if bare { format!("[{before}]{after}") } else { format!("{before}{after}") };
    let (place, path) = match place.find('/') {
        Some(slash) if scheme == Scheme::Https => place.split_at(slash),
        _ => (place.as_str(), if scheme == Scheme::Https { PATH } else { "" }),
    };
    let problem = || line.error(format!("{word:?}: {place:?} is not an address"));
    let address = address(place, port).ok_or_else(problem)?;
    let name = match name {
        Some(name) => server_name(line, name)?,
        None => ServerName::IpAddress(address.ip().into()),
    };
    Ok(Target { address, scheme, name: Some(name), path: path.into() })
}

fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let with_port = text.parse().ok();
    with_port.or_else(|| Some(SocketAddr::new(text.trim_matches(['[', ']']).parse::<IpAddr>().ok()?, port)))
}
