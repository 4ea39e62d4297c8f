//! The Seaway node agent: arguments to wiring, one file a subcommand.

#![forbid(unsafe_code)]

mod agent;
mod apf;
mod config;
mod demo;
mod dns;
mod dump;
mod explain;
mod facts;
mod logging;
mod node;
mod status;
mod table;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use seaway_dataplane::probe;

/// A node agent for Kubernetes: Services by eBPF, and flow control for API servers.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Balance Services on this node until told to stop; what is in the kernel stays.
    Agent(Box<agent::Args>),
    /// Explain, simulate and serve API Priority and Fairness.
    Apf(apf::Args),
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

/// Flags that do not make sense together, found after parsing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(&'static str);

/// Exit code for wrong usage, clap's own.
const WRONG_USAGE: u8 = 2;
/// Exit code for a kernel that lacks a feature, or rights that are missing to use it.
const KERNEL_LACKS: u8 = 3;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let command = match config::with_file(Arguments::command(), &arguments) {
        Ok(command) => command,
        Err(error) => return finish(Err(error)),
    };
    let parsed = Arguments::from_arg_matches(&command.get_matches_from(arguments));
    match parsed.unwrap_or_else(|error| error.exit()).command {
        Command::Agent(args) => finish(agent::run(&args)),
        Command::Apf(args) => finish(apf::run(args)),
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
    eprintln!("error: {}", sentence(&error));
    if error.chain().any(|cause| cause.is::<probe::Error>()) {
        ExitCode::from(KERNEL_LACKS)
    } else if error.is::<Usage>() {
        ExitCode::from(WRONG_USAGE)
    } else {
        ExitCode::FAILURE
    }
}

/// The error with its causes, without those that the text has already.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        _ => format!("{text}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error =
            anyhow::anyhow!("no such file").context("cannot read a: no such file").context("kubeconfig b");
        assert_eq!(sentence(&error), "kubeconfig b: cannot read a: no such file");
    }

    #[test]
    fn arguments_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }
}
