//! nftables rules of kube-proxy's shape for the objects of a manifest, written from its documentation
//! and not from our own code: verdict maps by address, protocol and port lead to a chain for each
//! Service, which picks an endpoint's chain at random. All endpoints have to be ready.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::Write as _,
    net::IpAddr,
    process::{Command, Stdio},
};

use seaway_lab::Namespace;
use serde::Deserialize;
use serde_json::Value;

use super::places::N1_NODE;

const CLUSTER: [&str; 2] = ["10.77.0.0/16", "fd77::/16"];
const SERVICES: [&str; 2] = ["10.96.0.0/16", "fd96::/112"];
const NODE: &str = "n1";

/// What the rules are made of: a Service of one family and one port, and its endpoints.
#[derive(Debug)]
pub(crate) struct Served {
    name: String,
    spec: Spec,
    load_balancers: Vec<IpAddr>,
    /// Address, and whether it is on this node.
    endpoints: Vec<(IpAddr, bool)>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: IpAddr,
    ports: Vec<Port>,
    #[serde(default, rename = "externalIPs")]
    external_ips: Vec<IpAddr>,
    #[serde(default)]
    external_traffic_policy: String,
    #[serde(default)]
    internal_traffic_policy: String,
    #[serde(default)]
    load_balancer_source_ranges: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    protocol: String,
    port: u16,
    target_port: u16,
    #[serde(default)]
    node_port: u16,
}

/// The Services of these objects with their endpoints.
///
/// # Panics
/// When an object is not as a manifest of this test has it.
pub(crate) fn served(objects: &[Value]) -> Vec<Served> {
    let of_kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    of_kind("Service")
        .map(|service| {
            let name = service["metadata"]["name"].as_str().expect("a name").to_owned();
            let spec = serde_json::from_value(service["spec"].clone()).expect("a spec");
            let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
            let load_balancers =
                ingress.into_iter().flatten().map(|ingress| address(&ingress["ip"])).collect();
            let slices = of_kind("EndpointSlice")
                .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == *name);
            let endpoints = slices
                .flat_map(|slice| slice["endpoints"].as_array().expect("endpoints"))
                .map(|endpoint| (address(&endpoint["addresses"][0]), endpoint["nodeName"] == NODE))
                .collect();
            Served { name, spec, load_balancers, endpoints }
        })
        .collect()
}

fn address(value: &Value) -> IpAddr {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no address"))
}

impl Served {
    /// Every address and port that leads to it, with its protocol.
    pub(crate) fn frontends(&self) -> impl Iterator<Item = (IpAddr, u16, &str)> {
        let Port { protocol, port, node_port, .. } = &self.spec.ports[0];
        let node = N1_NODE.map(|text| text.parse::<IpAddr>().expect("an address"));
        let node = node.into_iter().filter(|node| node.is_ipv4() == self.is_v4() && *node_port != 0);
        self.addresses()
            .map(|address| (address, *port))
            .chain(node.map(|address| (address, *node_port)))
            .map(|(address, port)| (address, port, &**protocol))
    }

    fn is_v4(&self) -> bool {
        self.spec.cluster_ip.is_ipv4()
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [self.spec.cluster_ip].into_iter().chain(self.external())
    }

    fn external(&self) -> impl Iterator<Item = IpAddr> {
        self.spec.external_ips.iter().chain(&self.load_balancers).copied()
    }
}

/// Puts the rules for these Services into force in a namespace.
///
/// # Panics
/// When `nft` is not there or does not take them.
pub(crate) fn load(namespace: &Namespace, services: &[Served]) {
    let text: String = [true, false].into_iter().map(|v4| Table::of(v4, services)).collect();
    let nft = || {
        let mut child = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nft runs; install nftables");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("nft reads");
        child.wait_with_output().expect("nft ends")
    };
    let output = namespace.run(nft).expect("the namespace is there");
    assert!(output.status.success(), "nft: {}\n{text}", String::from_utf8_lossy(&output.stderr));
}

/// The rules of one family, as they grow.
struct Table {
    v4: bool,
    chains: String,
    /// Elements of the verdict maps and of the set.
    services: String,
    node_ports: String,
    without: String,
    node_ports_without: String,
    firewalls: String,
    cluster_ips: BTreeSet<IpAddr>,
}

impl Table {
    fn of(v4: bool, services: &[Served]) -> String {
        let (services_of, chains) = (String::new, String::new());
        let mut table = Self {
            v4,
            chains,
            services: services_of(),
            node_ports: services_of(),
            without: services_of(),
            node_ports_without: services_of(),
            firewalls: services_of(),
            cluster_ips: BTreeSet::new(),
        };
        for service in services.iter().filter(|service| service.is_v4() == v4) {
            table.add(service);
        }
        table.text()
    }

    fn ip(&self) -> &'static str {
        if self.v4 { "ip" } else { "ip6" }
    }

    fn add(&mut self, service: &Served) {
        let Served { name, spec, endpoints, .. } = service;
        let Port { protocol, port, target_port, node_port } = &spec.ports[0];
        let (proto, ip) = (protocol.to_lowercase(), self.ip());
        let cluster = CLUSTER[usize::from(!self.v4)];
        self.cluster_ips.insert(spec.cluster_ip);
        for (number, (endpoint, _)) in endpoints.iter().enumerate() {
            let to = if self.v4 { endpoint.to_string() } else { format!("[{endpoint}]") };
            self.put(format_args!(
                "chain endpoint-{name}-{number} {{ {ip} saddr {endpoint} jump mark-for-masquerade; \
                 meta l4proto {proto} dnat to {to}:{target_port}; }}"
            ));
        }
        let local: Vec<usize> = (0..endpoints.len()).filter(|number| endpoints[*number].1).collect();
        let all: Vec<usize> = (0..endpoints.len()).collect();
        let internal = if spec.internal_traffic_policy == "Local" { &local } else { &all };
        self.pick(&format!("cluster-{name}"), name, &all);
        self.pick(&format!("local-{name}"), name, &local);
        self.pick(&format!("picked-{name}"), name, internal);
        self.put(format_args!(
            "chain internal-{name} {{ {ip} daddr {} {ip} saddr != {cluster} jump mark-for-masquerade; \
             goto picked-{name}; }}",
            spec.cluster_ip
        ));
        let is_local = spec.external_traffic_policy == "Local";
        let policy = if is_local {
            format!(
                "{ip} saddr {cluster} goto cluster-{name}; fib saddr type local jump mark-for-masquerade; \
                 fib saddr type local goto cluster-{name}; goto local-{name};"
            )
        } else {
            format!("jump mark-for-masquerade; goto cluster-{name};")
        };
        self.put(format_args!("chain external-{name} {{ {policy} }}"));

        let verdict = |to: &str, has: bool, without: &'static str| {
            if has { format!("goto {to}-{name}") } else { without.to_owned() }
        };
        let nothing = if endpoints.is_empty() { "goto refuse-all" } else { "drop" };
        let line = |to: &mut String, address: IpAddr, verdict: &str| {
            writeln!(to, "{address} . {proto} . {port} : {verdict},").expect("memory");
        };
        if internal.is_empty() {
            line(&mut self.without, spec.cluster_ip, nothing);
        } else {
            line(&mut self.services, spec.cluster_ip, &verdict("internal", true, ""));
        }
        // With the policy Local, pods and the node itself still reach endpoints elsewhere.
        let has_external = !endpoints.is_empty();
        for address in service.external() {
            if has_external {
                line(&mut self.services, address, &verdict("external", true, ""));
            }
            if !has_external || (is_local && local.is_empty()) {
                line(&mut self.without, address, nothing);
            }
        }
        if *node_port != 0 {
            let line = |to: &mut String, verdict: &str| {
                writeln!(to, "{proto} . {node_port} : {verdict},").expect("memory");
            };
            if has_external {
                line(&mut self.node_ports, &verdict("external", true, ""));
            }
            if !has_external || (is_local && local.is_empty()) {
                line(&mut self.node_ports_without, nothing);
            }
        }
        if !spec.load_balancer_source_ranges.is_empty() {
            let ranges = spec.load_balancer_source_ranges.join(", ");
            self.put(format_args!("chain firewall-{name} {{ {ip} saddr != {{ {ranges} }} drop; }}"));
            for address in &service.load_balancers {
                line(&mut self.firewalls, *address, &verdict("firewall", true, ""));
            }
        }
    }

    /// A chain that goes to one of these endpoints.
    fn pick(&mut self, chain: &str, name: &str, endpoints: &[usize]) {
        let to = |(index, number): (usize, &usize)| format!("{index} : goto endpoint-{name}-{number}");
        let picks: Vec<String> = endpoints.iter().enumerate().map(to).collect();
        let rule = if picks.is_empty() {
            String::new()
        } else {
            format!("numgen random mod {} vmap {{ {} }};", picks.len(), picks.join(", "))
        };
        self.put(format_args!("chain {chain} {{ {rule} }}"));
    }

    fn put(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.chains, " {line}").expect("memory");
    }

    fn text(&self) -> String {
        let Self { chains, services, node_ports, without, node_ports_without, firewalls, .. } = self;
        let (ip, index) = (self.ip(), usize::from(!self.v4));
        let (node, range) = (N1_NODE[index], SERVICES[index]);
        let address = if self.v4 { "ipv4_addr" } else { "ipv6_addr" };
        let cluster_ips: Vec<String> = self.cluster_ips.iter().map(IpAddr::to_string).collect();
        let map = |name: &str, kind: &str, elements: &str| {
            let elements =
                if elements.is_empty() { String::new() } else { format!("elements = {{ {elements} }}") };
            format!(" map {name} {{ type {kind} : verdict; {elements} }}\n")
        };
        let by_address = format!("{address} . inet_proto . inet_service");
        let by_port = "inet_proto . inet_service";
        let allocated = "ct state new jump cluster-ips-check;";
        [
            format!("table {ip} kube-proxy {{\n chain mark-for-masquerade {{ meta mark set mark or 0x4000; }}\n"),
            " chain refuse-all { reject; }\n".into(),
            chains.clone(),
            map("service-ips", &by_address, services),
            map("service-nodeports", by_port, node_ports),
            map("no-endpoint-services", &by_address, without),
            map("no-endpoint-nodeports", by_port, node_ports_without),
            map("firewall-ips", &by_address, firewalls),
            format!(" set cluster-ips {{ type {address}; elements = {{ {} }} }}\n", cluster_ips.join(", ")),
            format!(
                " chain services {{ {ip} daddr . meta l4proto . th dport vmap @service-ips; \
                 {ip} daddr {node} meta l4proto . th dport vmap @service-nodeports; }}\n \
                 chain endpoints-check {{ {ip} daddr . meta l4proto . th dport vmap @no-endpoint-services; \
                 {ip} daddr {node} meta l4proto . th dport vmap @no-endpoint-nodeports; }}\n \
                 chain cluster-ips-check {{ {ip} daddr @cluster-ips reject; {ip} daddr {range} drop; }}\n \
                 chain firewall-check {{ {ip} daddr . meta l4proto . th dport vmap @firewall-ips; }}\n"
            ),
            " chain filter-prerouting { type filter hook prerouting priority -110; ct state new jump firewall-check; }\n"
                .into(),
            " chain filter-output { type filter hook output priority -110; ct state new jump firewall-check; }\n"
                .into(),
            // What a local process sends is checked once it is translated, as other packets are.
            [("input", -110, ""), ("forward", -110, allocated), ("output", -90, allocated)]
                .map(|(hook, priority, allocated)| {
                    format!(
                        " chain endpoints-{hook} {{ type filter hook {hook} priority {priority}; \
                         ct state new jump endpoints-check; {allocated} }}\n"
                    )
                })
                .concat(),
            " chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }\n \
              chain nat-output { type nat hook output priority -100; jump services; }\n \
              chain nat-postrouting { type nat hook postrouting priority srcnat; meta mark and 0x4000 == 0 return; \
              meta mark set mark xor 0x4000; masquerade fully-random; }\n}\n"
                .into(),
        ]
        .concat()
    }
}
