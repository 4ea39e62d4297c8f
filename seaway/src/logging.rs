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
    /// How much to log, counted as kube-proxy does: up to 3 is info, 4 and 5 are debug, 6 and more trace.
    #[arg(short, long, value_name = "LEVEL", conflicts_with = "log")]
    v: Option<u8>,
    /// How log lines look.
    #[arg(long, value_enum, value_name = "FORMAT", env = "SEAWAY_LOG_FORMAT", default_value = "text")]
    log_format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Args {
    /// The client of the API server calls every attempt that fails an error; what matters of them is a
    /// warning of ours. Whoever names it, or wants all there is, gets to see it.
    fn directives(&self) -> String {
        let filter = self.filter();
        let wanted = filter.contains("kube") || filter.split(',').any(|part| part == "trace");
        if wanted { filter.to_owned() } else { format!("{filter},kube_client=off") }
    }

    /// Other crates' own doings are of interest from trace on.
    fn filter(&self) -> &str {
        match self.v {
            None => &self.log,
            Some(0..=3) => "info",
            Some(4 | 5) => "info,seaway=debug,seaway_cluster=debug,seaway_dataplane=debug,seaway_dns=debug",
            Some(6..) => "trace",
        }
    }
}

/// Starts logging.
pub(crate) fn start(args: &Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(args.directives())?;
    let colours = std::io::stderr().is_terminal();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match args.log_format {
        Format::Text => log.with_target(false).init(),
        Format::Json => log.json().init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        log: Args,
    }

    fn check(arguments: &[&str], expected: &str) {
        let arguments = std::iter::once("seaway").chain(arguments.iter().copied());
        let parsed = Command::try_parse_from(arguments).unwrap();
        let filter = parsed.log.filter();
        assert!(EnvFilter::try_new(filter).is_ok(), "{filter}");
        assert_eq!(filter.split(',').next_back(), Some(expected), "{filter}");
        let directives = parsed.log.directives();
        assert!(EnvFilter::try_new(&directives).is_ok(), "{directives}");
        assert_eq!(directives.ends_with(",kube_client=off"), expected != "trace" && !filter.contains("kube"));
    }

    #[test]
    fn verbosity_is_counted_as_kube_proxy_does() {
        check(&[], "info");
        check(&["--v=2"], "info");
        check(&["--v", "4"], "seaway_dns=debug");
        check(&["-v9"], "trace");
        check(&["--log", "warn"], "warn");
        check(&["--log", "info,kube_client=debug"], "kube_client=debug");
        assert!(Command::try_parse_from(["seaway", "--v=2", "--log=warn"]).is_err());
    }
}
