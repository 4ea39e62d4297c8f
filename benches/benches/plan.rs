//! How long the agent takes from facts to maps, at 1,000 and 10,000 services of ten endpoints.
//!
//! Everything but the reading of manifests: deriving what should be and planning alone, then with the
//! writing of the kernel's maps (as root), and consistent tables. A restart starts from the maps; with unchanged facts it must write nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use seaway_common::{Be16, Capacities};
use seaway_dataplane::maglev::{self, Entry};
use seaway_dataplane::plan::{Applied, plan};
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::Programs;
use seaway_dataplane::sync::{Event, Outcome, Sync};
use seaway_dataplane::{Desired, Installed, PortKey, Site};
use seaway_harness::MemoryMaps;
use seaway_tests::bulk::Bulk;

const ROUNDS: usize = 7;
const ENDPOINTS: u32 = 10;
const SIZES: [u32; 2] = [1_000, 10_000];

fn main() -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["SERVICES", "WHAT", "MEDIAN", "MIN", "MAX", "STEPS OR PLACES"]);
    let kernel = seaway_harness::require_root("plan");
    for services in SIZES {
        add(&mut table, &services.to_string(), || Ok(decisions(services)))?;
        if kernel {
            add(&mut table, &services.to_string(), || round(services))?;
        }
    }
    for endpoints in [10, 100, 1000] {
        add(&mut table, "-", || Ok(vec![consistent_table(endpoints)]))?;
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    Ok(())
}

/// A row: its name, microseconds, and the number of things done.
type Row = (&'static str, (f64, usize));

/// Adds the rows of some rounds.
fn add(table: &mut Table, services: &str, mut round: impl FnMut() -> Result<Vec<Row>>) -> Result<()> {
    let mut rows: BTreeMap<&str, (Vec<f64>, usize)> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (what, (micros, done)) in round()? {
            rows.entry(what).or_insert_with(|| (Vec::new(), done)).0.push(micros);
        }
    }
    for (what, (mut micros, done)) in rows {
        micros.sort_by(f64::total_cmp);
        let show = |micros: f64| format!("{:.3} ms", micros / 1000.0);
        let [median, min, max] = [micros[micros.len() / 2], micros[0], micros[micros.len() - 1]].map(show);
        table.add_row([services.to_owned(), what.to_owned(), median, min, max, done.to_string()]);
    }
    Ok(())
}

/// Deciding and planning alone, without writing anything.
fn decisions(services: u32) -> Vec<Row> {
    let bulk = Bulk { services, ports: 1, endpoints: ENDPOINTS };
    let site = Site::from("node-1");
    let facts = bulk.snapshot();
    let changed = bulk.one_endpoint_less(&facts, services / 2);
    let mut maps = MemoryMaps::new(Capacities::DEFAULT);
    let mut installed = Installed::read(&maps).expect("maps in memory");
    let (decide, mut desired) = timed(|| Desired::of(&facts, site.clone()));
    let all: Vec<PortKey> = desired.keys().cloned().collect();
    let (full, all_steps) = timed(|| plan(&desired, &mut installed, &all, 0).steps);
    seaway_dataplane::plan::apply(&all_steps, &mut maps, &mut installed, 0, &mut Applied::default())
        .expect("maps in memory");
    let (one, steps) = timed(|| {
        let services = changed.changed_services(&facts);
        let ports = desired.update(&changed, &site, services);
        plan(&desired, &mut installed, &ports, 0).steps
    });
    vec![
        ("1 decide everything", (decide, all.len())),
        ("2 plan everything", (full, all_steps.len())),
        ("3 decide and plan one endpoint less", (one, steps.len())),
    ]
}

/// Building a consistent table; the mean of a few.
fn consistent_table(endpoints: u32) -> Row {
    const TIMES: u32 = 10;
    let what = match endpoints {
        10 => "8 Maglev table for 10 endpoints",
        100 => "8 Maglev table for 100 endpoints",
        _ => "9 Maglev table for 1000 endpoints",
    };
    let entry = |number: u32| Entry {
        addr: std::net::IpAddr::from(Ipv4Addr::from_bits(0x0a80_0000 + number)).into(),
        port: Be16::new(8080),
        weight: 1,
    };
    let entries: Vec<Entry> = (0..endpoints).map(entry).collect();
    let (micros, table) = timed(|| {
        (1..TIMES).for_each(|_| drop(std::hint::black_box(maglev::table(&entries))));
        maglev::table(&entries)
    });
    (what, (micros / f64::from(TIMES), table.len()))
}

/// One agent's life on fresh maps of the kernel.
fn round(services: u32) -> Result<Vec<Row>> {
    let programs = Programs::load(&Probe::run()?, &Capacities::DEFAULT, None)?;
    let bulk = Bulk { services, ports: 1, endpoints: ENDPOINTS };
    let facts = Arc::new(bulk.snapshot());
    let mut sync = Sync::new(programs.maps()?, "node-1")?;
    let (cold, outcome) = timed(|| sync.handle(Event::Facts(Arc::clone(&facts)), 0));
    let mut rows = vec![("4 cold sync", (cold, applied(&outcome)?))];
    let changed = Arc::new(bulk.one_endpoint_less(&facts, services / 2));
    let (one, outcome) = timed(|| sync.handle(Event::Facts(Arc::clone(&changed)), 10_000));
    rows.push(("5 one endpoint goes", (one, applied(&outcome)?)));
    let (read, sync) = timed(|| Sync::new(programs.maps()?, "node-1").map_err(anyhow::Error::from));
    let mut sync = sync?;
    rows.push(("6 restart: read the maps", (read, 0)));
    let (again, outcome) = timed(|| sync.handle(Event::Facts(Arc::clone(&changed)), 20_000));
    ensure!(outcome.applied == 0, "a restart with unchanged facts wrote {} times", outcome.applied);
    rows.push(("7 restart: unchanged facts", (again, applied(&outcome)?)));
    Ok(rows)
}

/// Microseconds that the work takes, and what comes of it.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64() * 1e6, result)
}

fn applied(outcome: &Outcome) -> Result<usize> {
    ensure!(outcome.error.is_none() && outcome.full.is_empty(), "the sync failed: {outcome:?}");
    Ok(outcome.applied)
}
