//! `seaway status`: whether an agent runs, what it serves, and how full the maps are.

use std::fs;
use std::path::Path;

use anyhow::Result;
use clap::Args as ClapArgs;
use seaway_common::{Action, MapName, Reason, SERVICE_STAND_IN};
use seaway_dataplane::counters::Counters;
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::stand_in::StandIn;
use seaway_dataplane::status::Status;
use seaway_dataplane::usage::{self, Usage};
use seaway_dataplane::{Maps, pins};
use serde::Serialize;

use crate::node::Places;
use crate::table::{self, Output};

/// `seaway status`
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Args {
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    places: Places,
}

#[derive(Serialize)]
struct Overview {
    /// One sentence.
    summary: String,
    /// What the agent says; absent when none runs.
    agent: Option<Status>,
    /// Pinned links, by name.
    links: Vec<String>,
    /// What the programs do with queries to the cluster's DNS, where this node has a server of its own.
    node_dns: Option<&'static str>,
    maps: Vec<MapRow>,
    reasons: Vec<ReasonRow>,
}

#[derive(Serialize)]
struct MapRow {
    map: &'static str,
    used: usize,
    capacity: u32,
    /// Memory that it takes.
    bytes: u64,
}

#[derive(Serialize)]
struct ReasonRow {
    reason: &'static str,
    action: &'static str,
    count: u64,
}

/// Prints the overview. What is not there is said, and is no error.
pub(crate) fn run(args: &Args) -> Result<()> {
    let overview = overview(&args.places)?;
    match args.output {
        Output::Json => table::say(&serde_json::to_string_pretty(&overview)?),
        Output::Text => table::say(&text(&overview)),
    }
}

fn overview(places: &Places) -> Result<Overview> {
    let agent = Status::read(&places.run_dir).ok().filter(Status::alive);
    let folder = pins::maps(&places.pin_dir);
    let links = names_in(&pins::links(&places.pin_dir));
    let present = folder.join(MapName::Services.as_str()).exists();
    let summary = match (&agent, present) {
        (Some(agent), _) if agent.error.is_some() => "an agent runs; its last change is not in force",
        (Some(agent), _) if !agent.ready => "an agent is starting",
        (Some(_), _) => "an agent runs and is in sync",
        (None, true) if pins::in_use(&places.pin_dir) => "an agent runs with another --run-dir",
        (None, true) => "no agent runs; programs and maps of an earlier one are in place and at work",
        (None, false) => "no agent runs and nothing is in the kernel",
    };
    let (maps, reasons) = if present { kernel(&folder)? } else { (Vec::new(), Vec::new()) };
    let node_dns = if present { node_dns(&folder)? } else { None };
    Ok(Overview { summary: summary.to_owned(), agent, links, node_dns, maps, reasons })
}

fn kernel(folder: &Path) -> Result<(Vec<MapRow>, Vec<ReasonRow>)> {
    let rows = usage::of(folder)?.into_iter().map(|usage| {
        let Usage { map, used, capacity } = usage;
        let bytes = usage::bytes(folder, map)?;
        Ok(MapRow { map: map.as_str(), used, capacity, bytes })
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let counters = Counters::open(folder)?;
    let mut reasons = Vec::new();
    for reason in Reason::ALL {
        let count = counters.reason(*reason)?;
        let action = match reason.action() {
            Action::Pass => "passed on",
            Action::Drop => "dropped",
            Action::Refuse => "refused",
        };
        reasons.push(ReasonRow { reason: reason.label(), action, count });
    }
    Ok((rows, reasons))
}

fn node_dns(folder: &Path) -> Result<Option<&'static str>> {
    let frontends = KernelMaps::open(folder)?.frontends()?;
    if !frontends.iter().any(|(_, value)| value.has(SERVICE_STAND_IN)) {
        return Ok(None);
    }
    Ok(Some(match StandIn::open(folder)?.holds()? {
        true => "this node's own server answers for the cluster's",
        false => "this node's own server answers no more; queries go to the cluster's endpoints",
    }))
}

fn text(overview: &Overview) -> String {
    let mut parts = vec![overview.summary.clone()];
    if let Some(agent) = &overview.agent {
        parts.push(agent_text(agent));
    }
    let choices = overview.agent.iter().flat_map(|agent| &agent.interface_choices);
    let rows = choices.map(|it| [it.interface.clone(), it.role.as_str().to_owned(), it.reason.clone()]);
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        parts.push(table::render(["INTERFACE", "ROLE", "REASON"], rows));
    }
    if !overview.links.is_empty() {
        parts.push(format!("Attached: {}", overview.links.join(", ")));
    }
    parts.extend(overview.node_dns.map(|said| format!("DNS: {said}")));
    if !overview.maps.is_empty() {
        let rows = overview.maps.iter().map(|row| {
            [row.map.to_owned(), row.used.to_string(), row.capacity.to_string(), mebibytes(row.bytes)]
        });
        parts.push(table::render(["MAP", "USED", "CAPACITY", "MEMORY"], rows));
    }
    let counted: Vec<&ReasonRow> = overview.reasons.iter().filter(|row| row.count != 0).collect();
    if !counted.is_empty() {
        let rows =
            counted.iter().map(|row| [row.reason.to_owned(), row.action.to_owned(), row.count.to_string()]);
        parts.push(table::render(["REASON", "ACTION", "COUNT"], rows));
    }
    parts.join("\n\n")
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn agent_text(agent: &Status) -> String {
    let mut lines = vec![
        format!("Agent:      {} (pid {}), node {}", agent.version, agent.pid, agent.node),
        format!("Kernel:     {}", agent.probe),
        format!("Source:     {}", agent.source()),
        format!(
            "In force:   {} service ports, {} frontends, {} backends (revision {})",
            agent.services, agent.frontends, agent.backends, agent.revision
        ),
    ];
    lines.extend(agent.error.iter().map(|error| format!("Error:      {error}")));
    lines.extend(agent.warnings.iter().map(|warning| format!("Warning:    {warning}")));
    lines.join("\n")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
