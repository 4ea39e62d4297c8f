//! `seaway demo`: the real agent balances real HTTP requests on this machine, without a cluster.
//!
//! ```text
//! client ── node (agent: XDP on every link, socket hooks on the client's cgroup) ─┬─ 10.1.1.111
//!                                                                                 ├─ 10.1.1.112
//!                                                                                 └─ 10.1.1.114
//! ```
//! Every box is a network namespace without a route out. The story: build it, send requests on
//! both paths, take an endpoint away under load, take everything down. Whatever ends it early, an
//! error or a signal, goes through the same drops.

mod interrupt;
mod manifests;
mod names;
mod outcome;
mod requirements;
mod screen;
mod site;
mod traffic;

use std::process::ExitCode;

use self::{
    interrupt::{Interrupt, Interrupted},
    outcome::Outcome,
    screen::Screen,
    site::Site,
    traffic::Path,
};

const EXIT_UNSUPPORTED: u8 = 3;
const EXIT_INTERRUPTED: u8 = 130;

/// Arguments of `seaway demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Requests on each path, and again on each after an endpoint was taken away.
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// Requests under way at once on each path.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Print one JSON document instead of the tables.
    #[arg(long)]
    json: bool,
}

/// Runs the demo. Exit codes: 0 all as promised, 1 a request failed or a share is off, 3 the
/// machine lacks something, 130 interrupted.
pub(crate) fn run(args: &Args) -> ExitCode {
    match tell(args) {
        Ok(outcome) => {
            let problems = outcome.problems();
            for problem in &problems {
                eprintln!("error: {problem}");
            }
            if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("interrupted: everything the demo made is removed");
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            let is_unsupported = error.is::<requirements::Missing>()
                || matches!(error.downcast_ref(), Some(seaway_lab::Error::Unsupported { .. }));
            if is_unsupported { ExitCode::from(EXIT_UNSUPPORTED) } else { ExitCode::FAILURE }
        }
    }
}

fn tell(args: &Args) -> anyhow::Result<Outcome> {
    requirements::check()?;
    let interrupt = Interrupt::install()?;
    let screen = Screen::new(args.json);
    screen.introduce();

    let mut site = Site::build()?;
    screen.stage(&site.describe());
    screen.stage(&site.start_agent(&interrupt)?);

    let resolution = site.resolve(&interrupt)?;
    screen.stage(&resolution.describe());

    let mut paths = Vec::new();
    for path in Path::ALL {
        let result = traffic::send(&site, path, args, &screen, &interrupt)?;
        screen.verdict(&result.describe(), std::slice::from_ref(&result));
        paths.push(result);
    }
    let (after_removal, took) = traffic::send_through_removal(&mut site, args, &screen, &interrupt)?;
    screen.verdict(&traffic::describe_removal(&after_removal, took), &after_removal);

    drop(site);
    interrupt.check()?;
    screen.stage("removed namespaces, cgroup, pins and files again");
    let outcome = Outcome { resolution, paths, after_removal };
    screen.conclude(&outcome)?;
    Ok(outcome)
}
