//! Side-by-side benchmarks that need other programs.

mod client;
mod dataset;
mod dns;
mod servers;
mod statistics;

use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};

/// `cargo xtask bench`
#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Queries per second of Seaway and of the name servers that are installed, one core each.
    Dns(dns::Args),
}

/// Runs a benchmark.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Dns(args) => dns::run(args),
    }
}
