//! The node's own DNS server in the place of the cluster's: a pod and the node itself resolve by way of
//! the cluster's DNS address, and their answers tell who gave them.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use seaway_harness::{Agent, launcher, privileged, seaway_binary, wait_for};
use seaway_lab::{Job, Namespace, Process, Task};
use seaway_tests::names::{METRICS, PATIENCE, page};
use seaway_tests::network::{Network, VIPS};
use seaway_tests::query::{Over, ask};
use tempfile::TempDir;

/// Where clients think that DNS is.
const DNS: [&str; 2] = ["10.96.0.10", "fd96::10"];
/// What each server says of `who.example`.
const NODE: &str = "192.0.2.52";
const CLUSTER: &str = "192.0.2.53";
const ENDPOINT: &str = "10.1.1.111:53";
const FACTS: &str = "\
{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [
  {type: InternalIP, address: 192.0.2.1}, {type: InternalIP, address: '2001:db8::1'}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: kube-dns, namespace: kube-system}, spec: {clusterIP: 10.96.0.10,
  clusterIPs: [10.96.0.10, 'fd96::10'], ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: dns-4, namespace: kube-system,
  labels: {kubernetes.io/service-name: kube-dns}}, addressType: IPv4,
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}], endpoints: [{addresses: [10.1.1.111]}]}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: dns-6, namespace: kube-system,
  labels: {kubernetes.io/service-name: kube-dns}}, addressType: IPv6,
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}], endpoints: [{addresses: ['fd77:1::11']}]}
";

/// A node whose agent will serve DNS, and a DNS server of the cluster in the first pod.
struct Site {
    network: Network,
    dir: TempDir,
    _endpoint: Process,
}

impl Site {
    fn new() -> Self {
        let mut network = Network::new(&[1]);
        let dir = TempDir::with_prefix("seaway-node-dns-").unwrap();
        let file = |name: &str| dir.path().join(name);
        fs::create_dir(file("manifests")).unwrap();
        fs::write(file("manifests/none.yaml"), "{apiVersion: v1, kind: Namespace, metadata: {name: none}}")
            .unwrap();
        let hosts = |address: &str| format!("hosts {{\n{address} who.example\nfallthrough\n}}");
        let bind = "bind 10.1.1.111 fd77:1::11";
        fs::write(file("cluster"), format!(".:53 {{\n{bind}\n{}\n}}\n", hosts(CLUSTER))).unwrap();
        let plugins = format!("kubernetes cluster.local\nprometheus 127.0.0.1:9153\n{}", hosts(NODE));
        fs::write(file("node"), format!(".:53 {{\n{plugins}\n}}\n")).unwrap();
        for (family, server) in DNS.iter().enumerate() {
            for (over, option) in [("udp", ""), ("tcp", " use-vc")] {
                let text = format!("nameserver {server}\noptions timeout:5 attempts:1{option}\n");
                fs::write(file(&format!("{over}{family}")), text).unwrap();
            }
        }
        let mut command = Command::new(seaway_binary());
        command.args(["dns", "--threads", "1", "--corefile"]).arg(file("cluster"));
        command.arg("--manifests").arg(file("manifests")).stderr(Stdio::null());
        let pod = &network.topology.pods[0].namespace;
        let endpoint = pod.spawn(command).unwrap();
        let address: SocketAddr = ENDPOINT.parse().unwrap();
        wait_for("the cluster's server", PATIENCE, || {
            pod.run(|| ask(Over::Udp, address, "who.example", false)).unwrap().is_ok()
        });
        let corefile = file("node").to_string_lossy().into_owned();
        network.setup = network.setup.arguments(["--node-name", "n1", "--dns-corefile", &corefile]);
        network.setup.write("dns.yaml", FACTS);
        Self { network, dir, _endpoint: endpoint }
    }

    fn pod(&self) -> &Namespace {
        &self.network.topology.pods[1].namespace
    }

    fn node(&self) -> &Namespace {
        self.network.topology.node.namespace()
    }

    /// The first address that glibc finds, as a process of the agent's cgroup.
    fn resolve(&self, from: &Namespace, (over, family): (&str, usize), name: &str) -> Result<String, String> {
        let resolv_conf = self.dir.path().join(format!("{over}{family}"));
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec getent ahostsv4 \"$1\"";
        let arguments = ["--mount", "sh", "-c", script, &resolv_conf.to_string_lossy(), name];
        let task = Task::Run {
            program: PathBuf::from("unshare"),
            arguments: arguments.into_iter().map(str::to_owned).collect(),
        };
        let job = Job::new(task).cgroup(Some(self.network.setup.cgroup()));
        let mut command = launcher().command(&job).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = from.spawn(command).unwrap();
        let mut text = String::new();
        process.stdout().unwrap().read_to_string(&mut text).unwrap();
        let ended = process.wait(PATIENCE).unwrap();
        let first = text.split_whitespace().next().map(str::to_owned);
        first.filter(|_| ended.success()).ok_or_else(|| format!("{over}{family} {name}: {ended}"))
    }

    /// What a command says of this node.
    fn seaway(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(seaway_binary());
        command.args(arguments).arg("--pin-dir").arg(self.network.setup.pin_dir());
        if arguments[0] != "dump" {
            command.arg("--run-dir").arg(self.network.setup.run_dir());
        }
        let mut process = self.node().spawn({
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            command
        });
        let process = process.as_mut().unwrap();
        let mut text = String::new();
        process.stdout().unwrap().read_to_string(&mut text).unwrap();
        assert!(process.wait(PATIENCE).unwrap().success(), "{arguments:?}");
        text
    }

    /// What `dump` calls the frontends, what `status` says, and the only place that `explain` has for a query.
    fn check_told(&self, kind: &str, status: &str, candidate: &str) {
        let dumped: Vec<serde_json::Value> =
            serde_json::from_str(&self.seaway(&["dump", "services", "-o", "json"])).unwrap();
        let kinds: Vec<&str> = dumped.iter().filter_map(|row| row["kind"].as_str()).collect();
        let dns = kinds.iter().filter(|found| **found == format!("cluster-ip,{kind}"));
        assert_eq!(dns.count(), 4, "{kinds:?}");
        let said = self.seaway(&["status"]);
        assert!(said.contains(status), "{said}");
        let said = self.seaway(&["explain", "10.1.2.1", "10.96.0.10:53", "-p", "udp", "-o", "json"]);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let endpoints = said["endpoints"].as_array().unwrap().iter();
        let fit: Vec<&str> = endpoints
            .filter(|endpoint| endpoint["candidate"] == true)
            .filter_map(|endpoint| endpoint["address"].as_str())
            .collect();
        assert_eq!(
            (fit, &said["in_force"]["candidates"]),
            (vec![candidate], &serde_json::json!([candidate]))
        );
    }

    /// Waits until a pod's queries go to that server, in both families.
    fn until(&self, server: &str, agent: Option<&Agent>) {
        for family in [0, 1] {
            let mut last = None;
            let found = || {
                last = Some(self.resolve(self.pod(), ("udp", family), "who.example"));
                last.as_ref().is_some_and(|found| found.as_deref() == Ok(server))
            };
            let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                wait_for("the server", PATIENCE, found);
            }));
            let log = agent.map(Agent::log).unwrap_or_default();
            assert!(met.is_ok(), "{last:?} instead of {server}; the agent's log:\n{log}");
        }
    }
}

#[test]
fn pods_and_the_node_resolve_on_the_node_over_both_transports_and_families() {
    privileged!();
    let site = Site::new();
    let agent = site.network.start();
    site.until(NODE, Some(&agent));
    for (from, home) in [("pod", site.pod()), ("node", site.node())] {
        for over in ["udp", "tcp"] {
            for family in [0, 1] {
                let found = site.resolve(home, (over, family), "who.example");
                assert_eq!(found.as_deref(), Ok(NODE), "{from} {over} {family}");
                let found = site.resolve(home, (over, family), "echo.default.svc.cluster.local");
                assert_eq!(found.as_deref(), Ok(VIPS[0]), "{from} {over} {family}");
            }
        }
    }
    let metrics = site.node().run(|| page(([127, 0, 0, 1], METRICS).into(), "/metrics")).unwrap().unwrap().1;
    for (proto, family) in [("udp", 1), ("udp", 2), ("tcp", 1), ("tcp", 2)] {
        let labels = format!("proto=\"{proto}\",family=\"{family}\",type=\"A\"}}");
        let counted = metrics.lines().any(|line| {
            line.starts_with("coredns_dns_requests_total") && line.contains(&labels) && !line.ends_with(" 0")
        });
        assert!(counted, "{labels} in\n{metrics}");
    }
}

#[test]
fn a_stop_loses_no_query_and_leaves_dns_to_the_cluster() {
    privileged!();
    let site = Site::new();
    let agent = site.network.start();
    site.until(NODE, Some(&agent));
    let stopped = AtomicBool::new(false);
    let (found, ended) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut found = Vec::new();
            let mut last = false;
            while !last {
                // One round more after the agent has gone.
                last = stopped.load(Ordering::Acquire);
                for way in [("udp", 0), ("tcp", 0), ("udp", 1), ("tcp", 1)] {
                    found.push(site.resolve(site.pod(), way, "who.example"));
                }
            }
            found
        });
        let ended = agent.terminate();
        stopped.store(true, Ordering::Release);
        (asking.join().unwrap(), ended)
    });
    assert!(ended.success(), "{ended}");
    let failed: Vec<_> = found.iter().filter_map(|found| found.as_ref().err()).collect();
    assert!(failed.is_empty(), "of {}: {failed:?}", found.len());
    assert_eq!(found.last().and_then(|found| found.as_deref().ok()), Some(CLUSTER));
    site.until(CLUSTER, None);
}

#[test]
fn after_a_kill_the_programs_lead_to_the_cluster_s_servers_by_themselves() {
    privileged!();
    let site = Site::new();
    let agent = site.network.start();
    site.until(NODE, Some(&agent));
    site.check_told("node-dns", "answers for the cluster's", "192.0.2.1:9053");
    agent.kill();
    site.until(CLUSTER, None);
    for (from, home) in [("pod", site.pod()), ("node", site.node())] {
        for way in [("udp", 0), ("tcp", 0), ("udp", 1), ("tcp", 1)] {
            let found = site.resolve(home, way, "who.example");
            assert_eq!(found.as_deref(), Ok(CLUSTER), "{from} {way:?}");
        }
    }
    site.check_told("node-dns-silent", "answers no more", ENDPOINT);
    // The next agent begins with the cluster's servers and leads to its own once that answers.
    let agent = site.network.start();
    let first = site.resolve(site.pod(), ("udp", 0), "who.example");
    assert!(first.is_ok_and(|first| first == CLUSTER || first == NODE));
    site.until(NODE, Some(&agent));
}
