//! The log, on standard error.

use std::io::IsTerminal;

use clap::{Args as ClapArgs, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Clone, Debug, ClapArgs)]
#[group(skip)]
pub(crate) struct Args {
    /// What to log: error, warn, info, debug, trace, or tracing's filter syntax.
    #[arg(long, value_name = "FILTER", env = "SEAWAY_LOG", default_value = "info")]
    log: String,
    /// How log lines look.
    #[arg(long, value_enum, value_name = "FORMAT", env = "SEAWAY_LOG_FORMAT", default_value = "text")]
    log_format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Starts logging.
pub(crate) fn start(args: &Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log)?;
    let colours = std::io::stderr().is_terminal();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match args.log_format {
        Format::Text => log.with_target(false).init(),
        Format::Json => log.json().init(),
    }
    Ok(())
}
