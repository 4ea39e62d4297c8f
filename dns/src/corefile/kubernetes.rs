//! The `kubernetes` plugin's options.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::lexer::Line;
use super::{Error, duration, zones};
use crate::compat;
use crate::name::Zone;
use crate::options::{Options, PodNames, TTL_MAX_S};
use crate::selector::Selector;

const KNOWN: &str = "compat, endpoint_pod_names, fallthrough, ignore, labels, multicluster, namespace_labels, \
                     namespaces, noendpoints, pods, startup_timeout, terminating_endpoints, ttl and zonal";

/// Reads the plugin; without zones of its own it has those of the block.
pub(super) fn parse(line: &Line, of_block: &[Zone]) -> Result<Options, Error> {
    let zones =
        if line.arguments().is_empty() { of_block.to_vec() } else { zones::parse(line, line.arguments())? };
    let mut options = Options::new(zones);
    if options.primary().is_none() {
        return Err(line.error("at least one zone must not be a reverse zone"));
    }
    for option in &line.body {
        option.bare()?;
        match (option.word(), option.arguments()) {
            ("pods", [mode]) => options.pods = pods(option, mode)?,
            ("pods", _) => {
                return Err(option.error("pods takes one argument: disabled, insecure or verified"));
            }
            ("ttl", _) => options.ttl_s = option.number(option.one("seconds")?, 0, TTL_MAX_S)?,
            ("startup_timeout", _) => options.startup = duration::parse(option, option.one("a duration")?)?,
            ("apiserver_burst" | "apiserver_max_inflight" | "apiserver_qps", [_]) => {
                let word = option.word();
                tracing::warn!(line = option.number, "{word}: watches are few; the option is ignored");
            }
            ("endpoint" | "kubeconfig" | "tls", _) => {
                let problem =
                    "the API server is named on the command line (--kubeconfig), else the pod's is asked";
                return Err(option.error(format!("{}: {problem}", option.word())));
            }
            ("namespaces", []) => return Err(option.error("namespaces takes at least one name")),
            ("namespaces", names) => {
                options.namespaces =
                    names.iter().map(|name| Arc::from(name.as_str())).collect::<BTreeSet<_>>();
            }
            ("labels", [_, ..]) => options.labels = selector(option)?,
            ("namespace_labels", [_, ..]) => options.namespace_labels = selector(option)?,
            ("endpoint_pod_names", []) => options.endpoint_pod_names = true,
            ("zonal", []) => options.zonal = true,
            ("terminating_endpoints", []) => options.terminating = true,
            ("noendpoints", []) => options.endpoints = false,
            ("ignore", [what]) if what == "empty_service" => options.ignore_empty = true,
            ("ignore", _) => return Err(option.error("ignore takes one argument: empty_service")),
            ("compat", [_, ..]) => {
                let names = option.arguments();
                options.compat =
                    compat::Names::parse(names).map_err(|error| option.error(error.to_string()))?;
            }
            ("multicluster", _) => options.multicluster = multicluster(option, &options.zones)?,
            ("fallthrough", []) => options.fallthrough = Some(zones::or_root(option, &[])?),
            ("fallthrough", names) => options.fallthrough = Some(zones::parse(option, names)?),
            ("endpoint_pod_names" | "noendpoints" | "terminating_endpoints" | "zonal", _) => option.none()?,
            _ => return Err(option.unknown(KNOWN)),
        }
    }
    if !options.namespaces.is_empty() && options.namespace_labels != Selector::default() {
        return Err(line.error("namespaces and namespace_labels exclude each other"));
    }
    Ok(options)
}

/// Zones whose Services several clusters share; they are among the zones of the plugin.
fn multicluster(line: &Line, of_plugin: &[Zone]) -> Result<Vec<Zone>, Error> {
    let zones = zones::parse(line, line.arguments())?;
    match zones.iter().find(|zone| !of_plugin.contains(zone)) {
        _ if zones.is_empty() => Err(line.error("multicluster takes at least one zone")),
        Some(zone) => Err(line.error(format!("{zone} is none of the zones of this plugin; add it there"))),
        None if zones.iter().any(Zone::is_reverse) => Err(line.error("a reverse zone has no Services")),
        None => Ok(zones),
    }
}

fn selector(line: &Line) -> Result<Selector, Error> {
    let text = line.arguments().join(" ");
    Selector::parse(&text).map_err(|part| line.error(format!("{part:?} is not a requirement of labels")))
}

fn pods(line: &Line, mode: &str) -> Result<PodNames, Error> {
    match mode {
        "disabled" => Ok(PodNames::Disabled),
        "insecure" => Ok(PodNames::Insecure),
        "verified" => Ok(PodNames::Verified),
        other => Err(line.error(format!("{other:?} is none of disabled, insecure and verified"))),
    }
}
