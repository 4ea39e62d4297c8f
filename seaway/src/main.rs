//! The Seaway node agent: arguments to wiring, one file a subcommand.

#![forbid(unsafe_code)]

mod agent;
mod demo;
mod dns;
mod dump;
mod explain;
mod logging;
mod node;
mod status;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use seaway_dataplane::probe;

/// A node agent for Kubernetes: Services by eBPF.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Balance Services on this node until told to stop; what is in the kernel stays.
    Agent(Box<agent::Args>),
    /// Show Service load balancing at work on this machine, without a cluster.
    Demo(demo::Args),
    /// Answer DNS queries for the names of the cluster, configured by a Corefile.
    Dns(dns::Args),
    /// Tell whether an agent runs, what it serves, and how full its maps are.
    Status(status::Args),
    /// Print what the BPF maps hold.
    Dump(dump::Args),
    /// Tell where a client's connection to a virtual address goes, and why.
    Explain(explain::Args),
    /// Do a job of the demo or of a test inside its namespace and cgroup.
    #[command(hide = true)]
    Worker { job: String },
}

/// Exit code for a kernel that lacks a feature, or rights that are missing to use it.
const KERNEL_LACKS: u8 = 3;

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Agent(args) => finish(agent::run(*args)),
        Command::Demo(args) => demo::run(&args),
        Command::Dns(args) => finish(dns::run(&args)),
        Command::Status(args) => finish(status::run(&args)),
        Command::Dump(args) => finish(dump::run(&args)),
        Command::Explain(args) => finish(explain::run(&args)),
        Command::Worker { job } => finish(seaway_lab::run_worker(&job).map_err(Into::into)),
    }
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // A reader that went away, such as `head`, is no failure of ours.
    let closed = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(closed) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    let lacking = error.chain().any(|cause| cause.is::<probe::Error>());
    if lacking { ExitCode::from(KERNEL_LACKS) } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }
}
