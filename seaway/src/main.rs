//! The Seaway node agent.

#![forbid(unsafe_code)]

mod demo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A node agent for Kubernetes: Services by eBPF, cluster DNS, API Priority and Fairness.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show Service load balancing at work on this machine, without a cluster.
    Demo(demo::Args),
    /// Do a job of the demo or of a test inside its namespace and cgroup.
    #[command(hide = true)]
    Worker { job: String },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Worker { job } => finish(seaway_lab::run_worker(&job).map_err(Into::into)),
    }
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
