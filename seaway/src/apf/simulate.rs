//! `seaway apf simulate`: requests replayed through the event clock.

mod load;
mod plot;
mod replay;
mod report;

use super::{Common, Limiter, Output, max_in_flight};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use load::Load;
use replay::Replay;
use report::Report;
use std::path::PathBuf;

/// Arguments of `seaway apf simulate`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// What the requests meet.
    #[arg(long, value_enum, default_value_t)]
    limiter: Limiter,
    #[command(flatten)]
    max_in_flight: max_in_flight::Limits,
    /// Another configuration to replay the same requests with.
    #[arg(long, value_name = "OTHER_DIR", conflicts_with = "compare_limiter")]
    compare: Option<PathBuf>,
    /// Another limiter to replay the same requests with.
    #[arg(long, value_enum, value_name = "LIMITER")]
    compare_limiter: Option<Limiter>,
    /// Form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Draw seats and waits over time to this file.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Do not show progress.
    #[arg(short, long)]
    quiet: bool,
    /// A load to generate (`.yaml`) or a log to replay: JSON lines of this program or a Kubernetes audit log.
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let load = Load::read(&args.trace)?;
    let mut reports = vec![replay(args, &args.common, args.limiter, &load)?];
    if let Some(other) = &args.compare {
        let common = Common { config: Some(other.clone()), ..args.common.clone() };
        reports.push(replay(args, &common, args.limiter, &load)?);
    }
    if let Some(limiter) = args.compare_limiter {
        reports.push(replay(args, &args.common, limiter, &load)?);
    }
    if let Some(path) = &args.plot {
        plot::draw(path, &reports).with_context(|| format!("cannot draw {}", path.display()))?;
    }
    match args.output {
        Output::Table => {
            for (index, report) in reports.iter().enumerate() {
                print!("{}{}", if index > 0 { "\n" } else { "" }, report.text());
            }
        }
        Output::Json => {
            let all: Vec<_> = reports.iter().map(Report::json).collect();
            println!("{:#}", serde_json::json!({ "runs": all }));
        }
    }
    Ok(())
}

fn replay(args: &Args, common: &Common, limiter: Limiter, load: &Load) -> anyhow::Result<Report> {
    let objects =
        common.config.as_ref().map_or_else(|| "built-in".to_owned(), |dir| dir.display().to_string());
    let name = match limiter {
        Limiter::Apf => format!("apf, {objects} objects, {} seats", common.server_seats),
        Limiter::MaxInFlight => "max-in-flight".to_owned(),
    };
    let bar = if args.quiet { ProgressBar::hidden() } else { ProgressBar::new(load.end_ns() / 1_000_000) };
    bar.set_style(ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}")?);
    bar.set_message(name.clone());
    let mut replay =
        Replay::new(common.settings(), &common.configuration()?, limiter, args.max_in_flight, load);
    replay.run(|now_ns| bar.set_position(now_ns / 1_000_000));
    bar.finish_and_clear();
    Ok(Report::new(name, &replay))
}
