//! The options of plugins that know names: `hosts`, `file`, `k8s_external` and `autopath`.

use std::path::{Path, PathBuf};

use super::lexer::Line;
use super::{Error, duration, zones};
use crate::name::{self, Zone};
use crate::options::TTL_MAX_S;
use crate::plugin::autopath::{Autopath, Source};
use crate::plugin::external::External;
use crate::plugin::hosts::Hosts;
use crate::zonefile::ZoneFile;

const HOSTS_FILE: &str = "/etc/hosts";

/// Reads `hosts [FILE [ZONES...]] { LINES; ttl S; no_reverse; reload D; fallthrough [ZONES...] }`.
pub(super) fn hosts(line: &Line, dir: &Path, of_block: &[Zone]) -> Result<Hosts, Error> {
    let (file, zones) = match line.arguments() {
        [] => (None, &[][..]),
        [file, zones @ ..] => (Some(file.as_str()), zones),
    };
    let mut hosts = Hosts::new(zones::or(line, zones, of_block)?);
    let mut inline = false;
    for option in &line.body {
        option.bare()?;
        match option.word() {
            "ttl" => hosts.ttl_s = option.number(option.one("seconds")?, 1, 65_535)?,
            "no_reverse" => hosts.no_reverse = true,
            // Looked at as often as the Corefile, whatever it says; 0 is never.
            "reload" => drop(duration::parse(option, option.one("a duration")?)?),
            "fallthrough" => hosts.fallthrough = Some(zones::or_root(option, option.arguments())?),
            address if address.parse::<std::net::IpAddr>().is_ok() => {
                hosts.add(&option.words.join(" "));
                inline = true;
            }
            _ => return Err(option.unknown("ADDRESS NAME..., fallthrough, no_reverse, reload and ttl")),
        }
    }
    match file {
        Some(file) => hosts.add(&read(line, &dir.join(file))?),
        None if inline => {}
        None => hosts.add(&read(line, Path::new(HOSTS_FILE))?),
    }
    Ok(hosts)
}

/// Reads `file FILE [ZONES...] { reload D; fallthrough [ZONES...] }`.
pub(super) fn file(line: &Line, dir: &Path, of_block: &[Zone]) -> Result<Vec<ZoneFile>, Error> {
    let [file, zones @ ..] = line.arguments() else {
        return Err(line.error("it takes a file and zones"));
    };
    let text = read(line, &dir.join(file))?;
    let mut fallthrough = None;
    for option in &line.body {
        option.bare()?;
        match option.word() {
            "reload" => drop(duration::parse(option, option.one("a duration")?)?),
            "fallthrough" => fallthrough = Some(zones::or_root(option, option.arguments())?),
            _ => return Err(option.unknown("fallthrough and reload")),
        }
    }
    let zones = zones::or(line, zones, of_block)?;
    let parsed = zones.into_iter().map(|origin| {
        let mut zone =
            ZoneFile::parse(&text, origin).map_err(|error| line.error(format!("{file}: {error}")))?;
        zone.fallthrough.clone_from(&fallthrough);
        Ok(zone)
    });
    parsed.collect()
}

/// The files of `hosts`, `file` and `tls` whose changes count; `reload 0` says that they do not.
pub(super) fn watched(line: &Line, dir: &Path) -> Vec<PathBuf> {
    let never = |option: &Line| {
        let time = option.arguments().first().and_then(|time| duration::parse(option, time).ok());
        option.word() == "reload" && time.is_some_and(|time| time.is_zero())
    };
    let named = match line.word() {
        "hosts" | "file" if line.body.iter().any(never) => &[][..],
        "hosts" | "file" => &line.arguments()[..line.arguments().len().min(1)],
        "tls" => line.arguments(),
        _ => &[],
    };
    named.iter().map(|file| dir.join(file)).collect()
}

/// Reads `k8s_external ZONES... { apex LABEL; ttl S; headless; fallthrough [ZONES...] }`.
pub(super) fn external(line: &Line, of_block: &[Zone]) -> Result<External, Error> {
    let mut external = External::new(zones::or(line, line.arguments(), of_block)?);
    for option in &line.body {
        option.bare()?;
        match option.word() {
            "apex" => {
                let label = option.one("a label")?;
                let wire = name::parse(label).ok().filter(|wire| wire.len() == label.len() + 2);
                let wire = wire.ok_or_else(|| option.error(format!("{label:?} is not one label")))?;
                external.apex = wire[..wire.len() - 1].to_ascii_lowercase().into();
            }
            "ttl" => external.ttl_s = option.number(option.one("seconds")?, 0, TTL_MAX_S)?,
            "headless" => external.headless = true,
            "fallthrough" => external.fallthrough = Some(zones::or_root(option, option.arguments())?),
            _ => return Err(option.unknown("apex, fallthrough, headless and ttl")),
        }
    }
    if external.primary().is_none() {
        return Err(line.error("at least one zone must not be a reverse zone"));
    }
    Ok(external)
}

/// Reads `autopath [ZONES...] @kubernetes|FILE`; the file is one like `resolv.conf`.
pub(super) fn autopath(line: &Line, dir: &Path, of_block: &[Zone]) -> Result<Autopath, Error> {
    line.bare()?;
    let [zones @ .., source] = line.arguments() else {
        return Err(line.error("it takes zones, and @kubernetes or a file like resolv.conf"));
    };
    let zones = zones::or(line, zones, of_block)?;
    let source = match source.strip_prefix('@') {
        Some("kubernetes") => {
            // As the machine's resolver would go on.
            let own =
                std::fs::read_to_string("/etc/resolv.conf").map(|text| search(&text)).unwrap_or_default();
            Source::Pods(own)
        }
        Some(other) => return Err(line.error(format!("@{other} knows no search paths, @kubernetes does"))),
        None => {
            let mut path = search(&read(line, &dir.join(source))?);
            path.push(Box::new([0]));
            Source::Fixed(path)
        }
    };
    Ok(Autopath { zones, source })
}

/// The search list of a text like `resolv.conf`; the last line that has one counts.
fn search(text: &str) -> Vec<Box<[u8]>> {
    let mut lists = text.lines().filter_map(|line| {
        let line = line.trim();
        line.strip_prefix("search").or_else(|| line.strip_prefix("domain"))
    });
    let names = lists.next_back().unwrap_or_default().split_whitespace();
    names.filter_map(|name| name::parse(name).ok()).collect()
}

fn read(line: &Line, path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| line.error(format!("{} cannot be read: {error}", path.display())))
}
