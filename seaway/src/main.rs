//! The Seaway node agent.

mod apf;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "seaway", version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// API Priority and Fairness: explain, simulate and serve.
    Apf(apf::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Apf(args) => apf::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
