//! nftables rules of kube-proxy's shape: one lookup in a verdict map leads to a chain for each Service,
//! which picks a chain for an endpoint at random; marked packets are masqueraded on their way out.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use seaway_lab::Namespace;

use super::road::{ENDPOINTS, PORT, endpoint, vip};

/// Loads the rules for so many Services with `nft`.
pub(super) fn load(node: &Namespace, services: u32) -> Result<()> {
    let text = text(services)?;
    let nft = || -> Result<std::process::Output> {
        let mut child = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run nft; install nftables")?;
        child.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
        Ok(child.wait_with_output()?)
    };
    let output = node.run(nft)??;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn text(services: u32) -> Result<String> {
    let mut text = String::from("table ip kube-proxy {\n");
    let mut elements = String::new();
    for service in 0..services.max(1) {
        for number in 0..ENDPOINTS {
            let to = endpoint(service, number);
            writeln!(text, " chain endpoint-{service}-{number} {{ meta l4proto udp dnat to {to}:8080; }}")?;
        }
        let picks: Vec<String> =
            (0..ENDPOINTS).map(|number| format!("{number} : goto endpoint-{service}-{number}")).collect();
        writeln!(
            text,
            " chain service-{service} {{ numgen random mod {ENDPOINTS} vmap {{ {} }}; }}\n \
             chain external-{service} {{ meta mark set mark or 0x4000; goto service-{service}; }}",
            picks.join(", ")
        )?;
        writeln!(elements, "  {} . udp . {PORT} : goto external-{service},", vip(service))?;
    }
    write!(
        text,
        " map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; elements = {{\n{elements} }} }}\n \
         chain services {{ ip daddr . meta l4proto . th dport vmap @service-ips; }}\n \
         chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}\n \
         chain nat-postrouting {{ type nat hook postrouting priority srcnat; meta mark and 0x4000 == 0 return; \
         meta mark set mark xor 0x4000; masquerade fully-random; }}\n}}\n"
    )?;
    Ok(text)
}
