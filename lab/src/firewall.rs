//! A node's nftables rules, written with the `nft` tool.
//!
//! One table holds all of them and is replaced as a whole, so that what is in force is always what
//! [`NodeSettings`] say. Connection tracking keeps its entries.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::{Command, Stdio},
};

use ipnet::IpNet;

use crate::{Error, Firewall, Namespace, NodeSettings};

const TABLE: &str = "inet lab";
/// What Kubernetes asks to be open on a worker: kubelet, health checks and metrics of the proxy, node
/// ports; and VXLAN between nodes.
const PORTS: &str = "4789, 8472, 10249, 10250, 10256, 30000-32767";

/// What a firewall knows about its node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Networks and addresses of pods, here and on other nodes.
    pub(crate) pods: Vec<IpNet>,
    /// Ports of the node's own that are open beside those of Kubernetes.
    pub(crate) ports: Vec<u16>,
}

impl Rules {
    /// Puts the rules for `settings` in force.
    pub(crate) fn apply(&self, namespace: &Namespace, settings: &NodeSettings) -> Result<(), Error> {
        let text = self.text(settings);
        // A node that never had rules needs no tool.
        if text.is_empty() { Ok(()) } else { run(namespace, &text) }
    }

    /// Takes all rules out.
    pub(crate) fn clear(namespace: &Namespace) -> Result<(), Error> {
        run(namespace, &format!("table {TABLE}\ndelete table {TABLE}\n"))
    }

    fn text(&self, settings: &NodeSettings) -> String {
        let mut chains = String::new();
        if settings.reverse_path_filter {
            chains += REVERSE_PATH;
        }
        match settings.firewall {
            Firewall::Off => {}
            Firewall::DropInvalid => chains += DROP_INVALID,
            Firewall::DropByDefault => chains += DROP_BY_DEFAULT,
        }
        if settings.masquerade {
            chains += MASQUERADE;
        }
        if chains.is_empty() {
            return chains;
        }
        let mut text = format!("table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n");
        for (name, kind, is_v4) in [("pods4", "ipv4_addr", true), ("pods6", "ipv6_addr", false)] {
            let pods = self.pods.iter().filter(|pod| pod.addr().is_ipv4() == is_v4);
            let pods: Vec<_> = pods.map(ToString::to_string).collect();
            let elements =
                if pods.is_empty() { String::new() } else { format!("elements = {{ {} }}", pods.join(", ")) };
            // Writing to a string does not fail.
            writeln!(text, " set {name} {{ type {kind}; flags interval; auto-merge; {elements} }}").ok();
        }
        let own: String = self.ports.iter().map(|port| format!(", {port}")).collect();
        let ports = format!("{PORTS}{own}");
        writeln!(
            text,
            " set ports {{ type inet_service; flags interval; auto-merge; elements = {{ {ports} }} }}"
        )
        .ok();
        text + &chains + "}\n"
    }
}

/// firewalld's `IPv6_rpfilter=strict`, exceptions included.
const REVERSE_PATH: &str = "
 chain reverse_path {
  type filter hook prerouting priority raw; policy accept;
  icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
  meta nfproto ipv6 fib saddr . iif oif missing counter drop
 }
";

const DROP_INVALID: &str = "
 chain input { type filter hook input priority filter; policy accept; ct state invalid counter drop; }
 chain forward { type filter hook forward priority filter; policy accept; ct state invalid counter drop; }
 chain output { type filter hook output priority filter; policy accept; ct state invalid counter drop; }
";

/// Neighbour discovery is tracked by no connection: it is accepted as ICMP.
const DROP_BY_DEFAULT: &str = "
 chain input {
  type filter hook input priority filter; policy drop;
  ct state established,related accept
  ct state invalid counter drop
  iif lo accept
  meta l4proto { icmp, ipv6-icmp } accept
  ct state new meta l4proto { tcp, udp, sctp } th dport @ports accept
  ct state new ip saddr @pods4 accept
  ct state new ip6 saddr @pods6 accept
  counter
 }
 chain forward {
  type filter hook forward priority filter; policy drop;
  ct state established,related accept
  ct state invalid counter drop
  meta l4proto { icmp, ipv6-icmp } accept
  ct state new ip daddr @pods4 accept
  ct state new ip saddr @pods4 accept
  ct state new ip6 daddr @pods6 accept
  ct state new ip6 saddr @pods6 accept
  counter
 }
 chain output {
  type filter hook output priority filter; policy drop;
  ct state established,related accept
  ct state invalid counter drop
  oif lo accept
  meta l4proto { icmp, ipv6-icmp } accept
  ct state new accept
  counter
 }
";

/// What pods send anywhere but to pods, as flannel and ip-masq-agent have it.
const MASQUERADE: &str = "
 chain pods_leaving {
  type nat hook postrouting priority srcnat; policy accept;
  ip saddr @pods4 ip daddr != @pods4 ip daddr != 224.0.0.0/4 masquerade fully-random
  ip6 saddr @pods6 ip6 daddr != @pods6 ip6 daddr != ff00::/8 masquerade fully-random
 }
";

/// Runs `nft` with these commands in a namespace.
pub(crate) fn run(namespace: &Namespace, commands: &str) -> Result<(), Error> {
    let action = format!("set nftables rules in namespace {}", namespace.name());
    let output = namespace.run(|| feed(commands))?;
    let output = output.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Unsupported {
            what: action.clone(),
            advice: "install nft (package nftables)".into(),
            source: Some(source),
        },
        _ => Error::System { action: action.clone(), source },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::System { action, source: io::Error::other(why) })
}

fn feed(commands: &str) -> io::Result<std::process::Output> {
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = nft.spawn()?;
    // The pipe closes here, which is the end of the commands.
    child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.write_all(commands.as_bytes())?;
    child.wait_with_output()
}

/// What the rules of a namespace have counted, for messages: the lines with a counter that is not 0.
pub(crate) fn counters(namespace: &Namespace) -> String {
    let list = || Command::new("nft").args(["list", "ruleset"]).output();
    let Ok(Ok(output)) = namespace.run(list) else { return String::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut chain = "";
    let mut counted = String::new();
    for line in text.lines().map(str::trim) {
        chain = line.strip_prefix("chain ").map_or(chain, |rest| rest.trim_end_matches(" {"));
        if line.contains("counter packets") && !line.contains("counter packets 0 ") {
            // Writing to a string does not fail.
            writeln!(counted, "{chain}: {line}").ok();
        }
    }
    counted
}
