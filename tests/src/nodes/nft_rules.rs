//! The same Services by rules of kube-proxy's shape: the control that a table which a node fails is a
//! table that a node can pass.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use super::{Endpoint, Frontend, Nodes, Policy, Service, TARGET_TCP, TARGET_UDP};

const PODS: [&str; 2] = ["10.1.0.0/16", "fd77::/16"];

/// Lets the kernel's own translation serve the Services on `n1`.
///
/// # Panics
/// When `nft` is not there or does not take the rules.
pub fn balance_with_nftables(nodes: &Nodes) {
    let text = rules();
    let feed = || {
        let mut nft = Command::new("nft");
        let mut child = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft is installed");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("nft reads");
        child.wait().expect("nft ends")
    };
    assert!(nodes.n1().run(feed).expect("the namespace").success(), "nft does not take these rules:\n{text}");
}

fn rules() -> String {
    let mut services = String::new();
    for service in Service::all() {
        for (family, target) in service.endpoint.addresses().into_iter().enumerate() {
            for (protocol, port) in [("tcp", TARGET_TCP), ("udp", TARGET_UDP)] {
                for frontend in Frontend::ALL {
                    add(&mut services, service, frontend, family, protocol, (target, port).into());
                }
            }
        }
    }
    format!(
        "table inet proxy {{\n chain services {{\n{services} }}\n \
         chain prerouting {{ type nat hook prerouting priority dstnat; policy accept; jump services; }}\n \
         chain output {{ type nat hook output priority -100; policy accept; jump services; }}\n \
         chain postrouting {{ type nat hook postrouting priority srcnat - 1; policy accept; \
         meta mark & 0x4000 == 0x4000 masquerade fully-random; }}\n}}\n"
    )
}

fn add(
    text: &mut String,
    service: Service,
    frontend: Frontend,
    family: usize,
    protocol: &str,
    target: std::net::SocketAddr,
) {
    let asked = service.address(frontend, family, protocol == "tcp");
    let ip = ["ip", "ip6"][family];
    let pods = PODS[family];
    let matches = format!("{ip} daddr {} {protocol} dport {}", asked.ip(), asked.port());
    // Local traffic is short-cut to every endpoint; from elsewhere it needs one on this node.
    let is_kept = service.policy == Policy::Local && frontend != Frontend::Cluster;
    let mut add = |source: &str, action: &str| {
        // Writing to a string does not fail.
        writeln!(text, "  {matches} {source} {action}").ok();
    };
    if is_kept && service.endpoint == Endpoint::Remote {
        add(&format!("{ip} saddr != {pods} fib saddr type != local"), "drop");
    }
    if !is_kept {
        add(&format!("{ip} saddr != {pods}"), "meta mark set meta mark | 0x4000");
    } else {
        add("fib saddr type local", "meta mark set meta mark | 0x4000");
    }
    add("", &format!("dnat {ip} to {target}"));
}
