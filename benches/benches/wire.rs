//! Packets per second through the node, by live frames: XDP and tcx against nftables rules of kube-proxy's
//! shape, at 1, 1,000 and 10,000 Services.
//!
//! ```text
//! generator ─► ext0  node: DNAT to an endpoint, source address of the node  node0 ─► sink, counted
//! ```
//! All run in turn on one CPU, round after round, so that a noisy moment hits all of them alike. The
//! generator's own cost is part of every row; its row says how much it is.

#[path = "wire/plot.rs"]
mod plot;
#[path = "wire/road.rs"]
mod road;
#[path = "wire/rules.rs"]
mod rules;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use road::{Kind, Road};

const ROUNDS: usize = 7;
/// So many that the 4 to 8 ms that the kernel waits for at the start and at the end of a run of live
/// frames, whatever is in between, are a fiftieth of the shortest run at most.
const PACKETS: u32 = 1_000_000;
/// Packets before the first round: every flow is known then.
const WARM_UP: u32 = 20_000;
const SIZES: [u32; 3] = [1, 1_000, 10_000];
const PLOT: &str = "wire.svg";

/// What one road came to.
struct Row {
    road: Road,
    /// Packets a second, by round.
    rates: Vec<f64>,
    /// Packets that did not arrive, of all.
    lost: u64,
}

impl Row {
    fn median(&self) -> f64 {
        let mut sorted = self.rates.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    /// From the slowest to the fastest round, in percent of the median.
    fn spread(&self) -> f64 {
        let fold = |pick: fn(f64, f64) -> f64, start| self.rates.iter().copied().fold(start, pick);
        100.0 * (fold(f64::max, 0.0) - fold(f64::min, f64::MAX)) / self.median()
    }
}

fn main() -> Result<()> {
    if !seaway_harness::require_root("wire") {
        return Ok(());
    }
    let mut cpu = CpuSet::new();
    cpu.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &cpu).context("cannot stay on one CPU")?;
    let mut rows = vec![row(Kind::Nothing, 0)?];
    for services in SIZES {
        for kind in [Kind::Nftables, Kind::Tcx, Kind::Xdp] {
            rows.push(row(kind, services)?);
        }
    }
    for _ in 0..ROUNDS {
        for row in &mut rows {
            let run = row.road.run(PACKETS)?;
            row.rates.push(run.per_second);
            row.lost += u64::from(PACKETS) - run.arrived;
        }
    }
    println!("{}", table(&rows));
    let points = rows.iter().skip(1).map(|row| (row.road.kind, row.road.services, row.median()));
    let file = seaway_benches::target_folder()?.join(PLOT);
    plot::write(&file, &points.collect::<Vec<_>>())
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("\nplot: {}", file.display());
    Ok(())
}

fn row(kind: Kind, services: u32) -> Result<Row> {
    let mut road = Road::build(kind, services).with_context(|| format!("{} with {services}", kind.name()))?;
    let run = road.run(WARM_UP)?;
    anyhow::ensure!(run.arrived > 0, "{} with {services} Services lets nothing through", kind.name());
    Ok(Row { road, rates: Vec::new(), lost: 0 })
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "PATH",
        "SERVICES",
        "PACKETS/S",
        "SPREAD",
        "LOST",
        "NFTABLES",
        "ONE SERVICE",
    ]);
    let median = |kind, services| {
        let found = rows.iter().find(|row| row.road.kind == kind && row.road.services == services);
        found.map_or(f64::NAN, Row::median)
    };
    for row in rows {
        let Road { kind, services, .. } = row.road;
        let ratio = |other: f64| {
            if other.is_nan() { "-".to_owned() } else { format!("{:.2}x", row.median() / other) }
        };
        table.add_row([
            kind.name().to_owned(),
            if kind == Kind::Nothing { "-".to_owned() } else { services.to_string() },
            format!("{:.0}", row.median()),
            format!("{:.0}%", row.spread()),
            format!("{:.2}%", 100.0 * row.lost as f64 / f64::from(PACKETS) / ROUNDS as f64),
            ratio(median(Kind::Nftables, services)),
            if kind == Kind::Nothing { "-".to_owned() } else { ratio(median(kind, SIZES[0])) },
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
