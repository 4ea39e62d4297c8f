//! `seaway apf`: what flow control would do, did in a replay, or does in front of a server.

mod explain;
mod max_in_flight;
mod serve;
mod simulate;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use seaway_apf::behaviour::Behaviour;
use seaway_apf::limits;
use seaway_apf::{Configuration, Settings};
use std::path::{Path, PathBuf};

/// Arguments of `seaway apf`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say which schema, level, flow, queues and seats a request would get, and why.
    Explain(explain::Args),
    /// Replay a request log, or a generated load, and show waits, refusals, seats and fairness.
    Simulate(simulate::Args),
    /// Put flow control in front of an HTTP server.
    Serve(Box<serve::Args>),
}

/// Where the objects come from and what the server decides.
#[derive(clap::Args, Clone)]
struct Common {
    /// File or folder with FlowSchema and PriorityLevelConfiguration objects; the built-in ones if absent.
    #[arg(long, value_name = "DIR", env = "SEAWAY_APF_CONFIG")]
    config: Option<PathBuf>,
    /// Add the suggested built-in objects that the folder does not have.
    #[arg(long)]
    with_builtin: bool,
    /// Seats of the whole server.
    #[arg(long, value_name = "N", env = "SEAWAY_APF_SERVER_SEATS",
          default_value_t = limits::SEATS_READING + limits::SEATS_MUTATING)]
    server_seats: u32,
    /// Behave as kube-apiserver does, without the improvements.
    #[arg(long)]
    parity: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Columns for people.
    #[default]
    Table,
    /// For machines.
    Json,
}

/// What stands between requests and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Limiter {
    /// Flow control.
    #[default]
    Apf,
    /// The old way: at most so many requests in flight, whoever sends them.
    MaxInFlight,
}

/// Runs a subcommand of `seaway apf`.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Explain(args) => explain::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Serve(args) => serve::run(*args),
    }
}

impl Common {
    fn settings(&self) -> Settings {
        let behaviour = if self.parity { Behaviour::PARITY } else { Behaviour::IMPROVED };
        Settings::default().seats(self.server_seats).behaviour(behaviour)
    }

    fn configuration(&self) -> anyhow::Result<Configuration> {
        self.config.as_deref().map_or_else(|| Ok(Configuration::builtin()), |path| self.read(path))
    }

    fn read(&self, path: &Path) -> anyhow::Result<Configuration> {
        let read = Configuration::from_path(path)
            .with_context(|| format!("{} holds no valid configuration", path.display()))?;
        anyhow::ensure!(
            !read.flow_schemas.is_empty() || !read.priority_levels.is_empty(),
            "{} holds no FlowSchema and no PriorityLevelConfiguration",
            path.display()
        );
        Ok(if self.with_builtin { read.with_builtin() } else { read })
    }
}

/// Columns aligned by blanks, as kubectl prints them.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(head.to_vec());
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    table.lines().map(|line| line.trim().to_owned() + "\n").collect()
}
