//! The flags that say how long a flow may be idle, by kube-proxy's names and the kernel's states.

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use seaway_common::Config;

/// How long flows may be idle: durations such as `24h0m0s` or seconds, 0 for the default.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Time-outs")]
#[group(skip)]
pub(super) struct Args {
    /// Idle time after which an established TCP flow is forgotten; 0 means the default, as for all of these.
    #[arg(
        long = "conntrack-tcp-timeout-established",
        alias = "tcp-established-timeout",
        value_name = "DURATION",
        env = "SEAWAY_CONNTRACK_TCP_TIMEOUT_ESTABLISHED",
        default_value = "24h",
        value_parser = seconds
    )]
    tcp_established: u32,
    /// The same after one side's FIN.
    #[arg(
        long = "conntrack-tcp-timeout-close-wait",
        value_name = "DURATION",
        env = "SEAWAY_CONNTRACK_TCP_TIMEOUT_CLOSE_WAIT",
        default_value = "1h",
        value_parser = seconds
    )]
    tcp_close_wait: u32,
    /// The same after both FINs; until then no other client gets the flow's source port.
    #[arg(
        long = "conntrack-tcp-timeout-time-wait",
        value_name = "DURATION",
        env = "SEAWAY_CONNTRACK_TCP_TIMEOUT_TIME_WAIT",
        default_value = "2m",
        value_parser = seconds
    )]
    tcp_time_wait: u32,
    /// The same after a RST.
    #[arg(
        long = "conntrack-tcp-timeout-close",
        alias = "tcp-closing-timeout",
        value_name = "DURATION",
        env = "SEAWAY_CONNTRACK_TCP_TIMEOUT_CLOSE",
        default_value = "10s",
        value_parser = seconds
    )]
    tcp_close: u32,
    /// The same before the last acknowledgment of the handshake.
    #[arg(
        long = "conntrack-tcp-timeout-syn-recv",
        alias = "tcp-opening-timeout",
        value_name = "DURATION",
        env = "SEAWAY_CONNTRACK_TCP_TIMEOUT_SYN_RECV",
        default_value = "1m",
        value_parser = seconds
    )]
    tcp_syn_recv: u32,
    /// Idle time after which a UDP or SCTP flow without an answer is forgotten.
    #[arg(
        long = "conntrack-udp-timeout",
        alias = "udp-timeout",
        value_name = "DURATION",
        env = "SEAWAY_CONNTRACK_UDP_TIMEOUT",
        default_value = "1m",
        value_parser = seconds
    )]
    udp: u32,
    /// The same of a flow with packets in both directions.
    #[arg(
        long = "conntrack-udp-timeout-stream",
        alias = "udp-assured-timeout",
        value_name = "DURATION",
        env = "SEAWAY_CONNTRACK_UDP_TIMEOUT_STREAM",
        default_value = "2m",
        value_parser = seconds
    )]
    udp_stream: u32,
}

impl Args {
    /// The configuration with these time-outs, and the defaults of all else.
    pub(super) fn config(&self) -> Config {
        let defaults = Config::new();
        let or = |given: u32, default: u32| if given == 0 { default } else { given };
        Config {
            tcp_opening_s: or(self.tcp_syn_recv, defaults.tcp_opening_s),
            tcp_established_s: or(self.tcp_established, defaults.tcp_established_s),
            tcp_closing_s: or(self.tcp_close, defaults.tcp_closing_s),
            tcp_close_wait_s: or(self.tcp_close_wait, defaults.tcp_close_wait_s),
            tcp_time_wait_s: or(self.tcp_time_wait, defaults.tcp_time_wait_s),
            udp_s: or(self.udp, defaults.udp_s),
            udp_assured_s: or(self.udp_stream, defaults.udp_assured_s),
            ..defaults
        }
    }
}

/// Seconds of a duration as Go writes it, or of a bare number. Parts of a second count as a whole one.
fn seconds(text: &str) -> Result<u32> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let wanted = || format!("{text:?} is not a duration such as 24h0m0s or 90s, nor a number of seconds");
    ensure!(!text.is_empty(), wanted());
    let (mut total_us, mut rest) = (0u64, text);
    while !rest.is_empty() {
        let end =
            rest.find(|letter: char| letter.is_ascii_alphabetic() || letter == 'µ').with_context(wanted)?;
        let (number, unit) = rest.split_at(end);
        let end = unit.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(unit.len());
        let (unit, after) = unit.split_at(end);
        let part = unit_us(unit).and_then(|each| times(number, each)).with_context(wanted)?;
        total_us = total_us.checked_add(part).with_context(wanted)?;
        rest = after;
    }
    u32::try_from(total_us.div_ceil(1_000_000)).with_context(wanted)
}

fn unit_us(unit: &str) -> Option<u64> {
    Some(match unit {
        "us" | "µs" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return None,
    })
}

/// A decimal number, which may have a fraction, times `each`.
fn times(number: &str, each: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut total = whole.parse::<u64>().ok()?.checked_mul(each)?;
    let mut share = each;
    for digit in fraction.chars() {
        share /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?) * share)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Given {
        #[command(flatten)]
        args: Args,
    }

    #[track_caller]
    fn check(text: &str, expected: Option<u32>) {
        assert_eq!(seconds(text).ok(), expected, "{text}");
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        check("24h0m0s", Some(86_400));
        check("1h0m0s", Some(3600));
        check("1h30m", Some(5400));
        check("1.5h", Some(5400));
        check("90", Some(90));
        check("0", Some(0));
        check("0s", Some(0));
        check("1500ms", Some(2));
        check("20us", Some(1));
        check("2m0.5s", Some(121));
        for bad in ["", "s", "-1s", "1d", "1h30", "h1", "1..5s", "9999999999h"] {
            check(bad, None);
        }
    }

    #[test]
    fn defaults_are_the_kernels_and_old_names_are_understood() {
        let config = |flags: &[&str]| {
            let flags = ["seaway"].iter().chain(flags);
            Given::try_parse_from(flags).unwrap().args.config()
        };
        assert_eq!(config(&[]), Config::new());
        assert_eq!(config(&["--conntrack-tcp-timeout-established", "0"]), Config::new());
        let old = [
            ("--tcp-established-timeout", "--conntrack-tcp-timeout-established"),
            ("--tcp-closing-timeout", "--conntrack-tcp-timeout-close"),
            ("--tcp-opening-timeout", "--conntrack-tcp-timeout-syn-recv"),
            ("--udp-timeout", "--conntrack-udp-timeout"),
            ("--udp-assured-timeout", "--conntrack-udp-timeout-stream"),
        ];
        for (old, new) in old {
            assert_eq!(config(&[old, "77"]), config(&[new, "1m17s"]), "{old}");
            assert_ne!(config(&[old, "77"]), Config::new(), "{old}");
        }
        let config =
            config(&["--conntrack-tcp-timeout-close-wait=30m", "--conntrack-tcp-timeout-time-wait=1m"]);
        assert_eq!((config.tcp_close_wait_s, config.tcp_time_wait_s), (1800, 60));
    }
}
