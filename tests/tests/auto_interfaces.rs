//! What the agent finds on a node by itself: interfaces, neighbours that went stale, routes that changed.

#![forbid(unsafe_code)]

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aya::maps::{Array, HashMap, Map, MapData};
use seaway_common::{DEVICE_BRIDGE_PORT, DEVICE_STRICT_RP_FILTER, MapName};
use seaway_harness::{Agent, AgentSetup, privileged, wait_for, wait_for_some};
use seaway_lab::{End, Namespace, Route, Topology, Veth};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 1, 1));

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  clusterIP: 10.96.0.80
  ports: [{port: 80}]
";

/// A node with a client, pods, and an agent that is told of no interface.
struct Site {
    setup: AgentSetup,
    topology: Topology,
}

impl Site {
    fn new(pods: &[(&str, &[IpAddr])]) -> Self {
        let topology = Topology::new(&[GATEWAY], pods).unwrap();
        let setup = AgentSetup::new(Vec::<String>::new());
        setup.write("web.yaml", SERVICE);
        Self { setup, topology }
    }

    fn arguments(mut self, arguments: &[&str]) -> Self {
        self.setup = self.setup.arguments(arguments.iter().copied());
        self
    }

    fn node(&self) -> &Namespace {
        self.topology.node.namespace()
    }

    fn start(&self) -> Agent {
        self.setup.start(self.node())
    }

    /// The role of each interface, as `seaway status` has it.
    fn roles(&self) -> Vec<(String, String)> {
        let text = fs::read(self.setup.run_dir().join("status.json")).unwrap();
        let status: Value = serde_json::from_slice(&text).unwrap();
        let choices = status["interface_choices"].as_array().unwrap();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        choices.iter().map(|choice| (word(&choice["interface"]), word(&choice["role"]))).collect()
    }

    fn wait_for_roles(&self, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(name, role)| ((*name).into(), (*role).into())).collect();
        let mut found = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while found != expected && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            found = self.roles();
        }
        assert_eq!(found, expected);
    }

    /// Whether a program runs for what arrives by an interface.
    fn is_attached(&self, interface: &str) -> bool {
        let links = self.setup.pin_dir().join("links");
        let name = format!("tc_ingress-{interface}");
        links.read_dir().unwrap().flatten().any(|entry| entry.file_name().to_string_lossy() == name)
    }

    fn map(&self, name: MapName) -> MapData {
        MapData::from_pin(self.setup.pin_dir().join("maps").join(name.as_str())).unwrap()
    }

    fn generation(&self) -> u64 {
        let map: Array<_, u64> = Array::try_from(Map::Array(self.map(MapName::RouteGeneration))).unwrap();
        map.get(&0, 0).unwrap()
    }

    /// The bits and the bridge's address of a device, as the programs find them.
    fn device(&self, name: &str) -> (u32, Vec<u8>) {
        let index = self.node().run(|| nix::net::if_::if_nametoindex(name)).unwrap().unwrap();
        let map: HashMap<_, u32, [u8; 48]> =
            HashMap::try_from(Map::HashMap(self.map(MapName::Devices))).unwrap();
        let value = map.get(&index, 0).unwrap();
        (u32::from_ne_bytes(value[..4].try_into().unwrap()), value[4..10].to_vec())
    }

    fn ip(&self, arguments: &str) -> String {
        let run = || Command::new("ip").args(arguments.split(' ')).output().expect("iproute2 is installed");
        let output = self.node().run(run).unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn pod(last: u8) -> IpAddr {
    [10, 1, 1, last].into()
}

#[test]
fn interfaces_are_found_and_followed_without_any_flag() {
    privileged!();
    let site = Site::new(&[("p1", &[pod(111)])]);
    let agent = site.start();
    site.wait_for_roles(&[("ext0", "node"), ("ext1", "node"), ("p1", "pod")]);
    assert!(site.is_attached("ext0") && site.is_attached("p1"));

    let mut delays = Vec::new();
    for number in 2..10 {
        let name = format!("p{number}");
        let added = site.topology.node.add_pod(&name, &[pod(110 + number).into()]).unwrap();
        let since = Instant::now();
        wait_for(&name, PATIENCE, || site.is_attached(&name));
        delays.push(since.elapsed());
        drop(added);
    }
    // Far below the two seconds after which everything is looked at again, on a loaded machine too.
    println!("from the route to the program: {delays:?}");
    delays.sort();
    assert!(delays[delays.len() / 2] < Duration::from_millis(500), "{delays:?}; {}", agent.log());
    wait_for("links of pods that went to be removed", PATIENCE, || !site.is_attached("p9"));
}

#[test]
fn ports_of_a_named_bridge_are_taken_and_followed() {
    privileged!();
    let site = Site::new(&[]).arguments(&["--pod-interface", "cni0"]);
    let (a, b) = (Namespace::new("a").unwrap(), Namespace::new("b").unwrap());
    let connect = |pod: &Namespace, name: &str| {
        Veth::new(End::new(site.node(), name), End::new(pod, "eth0")).connect().unwrap();
    };
    connect(&a, "veth1");
    site.node().add_bridge("cni0", &["veth1"]).unwrap();
    let _agent = site.start();
    assert!(site.is_attached("veth1") && !site.is_attached("cni0"));
    connect(&b, "veth2");
    site.ip("link set veth2 master cni0");
    wait_for("the new port", PATIENCE, || site.is_attached("veth2"));
    site.ip("link set veth1 nomaster");
    wait_for("the former port", PATIENCE, || !site.is_attached("veth1"));
}

#[test]
fn bridge_of_pods_is_found_by_their_range_and_docker_is_not() {
    privileged!();
    let site = Site::new(&[]).arguments(&["--cluster-cidr", "10.1.0.0/16"]);
    let (a, b) = (Namespace::new("a").unwrap(), Namespace::new("b").unwrap());
    for (pod, name, bridge, address) in
        [(&a, "veth1", "cni0", "10.1.1.1/24"), (&b, "vethd", "docker0", "172.17.0.1/16")]
    {
        Veth::new(End::new(site.node(), name), End::new(pod, "eth0")).connect().unwrap();
        site.node().add_bridge(bridge, &[name]).unwrap();
        site.node().add_address(bridge, address.parse().unwrap()).unwrap();
    }
    let _agent = site.start();
    site.wait_for_roles(&[
        ("cni0", "none"),
        ("docker0", "none"),
        ("ext0", "node"),
        ("ext1", "node"),
        ("veth1", "pod"),
        ("vethd", "none"),
    ]);
    let (flags, address) = site.device("veth1");
    assert_eq!(flags & DEVICE_BRIDGE_PORT, DEVICE_BRIDGE_PORT);
    let shown = address.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    assert!(site.ip("-o link show cni0").contains(&shown), "{shown}");
    assert_eq!(site.device("ext0").0 & DEVICE_BRIDGE_PORT, 0);
}

#[test]
fn strict_reverse_path_filtering_is_noticed_when_it_is_switched_on() {
    privileged!();
    let site = Site::new(&[]);
    for device in ["all", "ext0"] {
        // The node's own setting is strict; here it is switched on.
        site.node().set(&format!("net/ipv4/conf/{device}/rp_filter"), "0").unwrap();
    }
    let _agent = site.start();
    assert_eq!(site.device("ext0").0 & DEVICE_STRICT_RP_FILTER, 0);
    site.node().set("net/ipv4/conf/ext0/rp_filter", "1").unwrap();
    wait_for("the bit", PATIENCE, || site.device("ext0").0 & DEVICE_STRICT_RP_FILTER != 0);
    site.node().set("net/ipv4/conf/all/rp_filter", "2").unwrap();
    wait_for("loose filtering", PATIENCE, || site.device("ext0").0 & DEVICE_STRICT_RP_FILTER == 0);
}

#[test]
fn device_without_ethernet_is_refused_by_name_and_left_out_otherwise() {
    privileged!();
    if !Path::new("/dev/net/tun").exists() {
        return seaway_harness::skip("device_without_ethernet", "there is no /dev/net/tun");
    }
    let site = Site::new(&[]);
    site.ip("tuntap add tun7 mode tun");
    site.ip("addr add 10.8.0.1/24 dev tun7");
    let agent = site.start();
    site.wait_for_roles(&[("ext0", "node"), ("ext1", "node"), ("tun7", "none")]);
    assert!(agent.terminate().success());

    let refused = Site { setup: AgentSetup::new(["tun7"]), topology: site.topology };
    let agent = refused.setup.start_unready(refused.node());
    let wanted = "--interface tun7: packets without Ethernet header are not supported";
    wait_for("the refusal", PATIENCE, || agent.log().contains(wanted));
    wait_for("the pins to be gone", PATIENCE, || !refused.setup.pin_dir().join("maps").exists());
}

/// The state of the client's entry: `ip neigh` ends with it.
fn state(site: &Site, interface: &str) -> String {
    let shown = site.ip(&format!("neigh show {} dev {interface}", Topology::CLIENT[0]));
    shown.split_whitespace().last().unwrap_or("GONE").to_owned()
}

#[test]
fn stale_neighbours_are_probed_where_programs_are_attached() {
    privileged!();
    let site = Site::new(&[]);
    let idle = Namespace::new("idle").unwrap();
    Veth::new(End::new(site.node(), "idle0"), End::new(&idle, "eth0")).connect().unwrap();
    let _agent = site.start();
    assert!(!site.is_attached("idle0"));
    let client = Topology::CLIENT[0];
    for interface in ["ext0", "idle0"] {
        site.ip(&format!("neigh replace {client} dev {interface} lladdr 02:00:00:00:00:99 nud stale"));
    }
    let since = Instant::now();
    let end = wait_for_some("the wrong address to be given up", PATIENCE, || {
        Some(state(&site, "ext0")).filter(|state| !["STALE", "DELAY", "PROBE"].contains(&state.as_str()))
    });
    println!("given up after {:?}: {end}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    assert_eq!(state(&site, "idle0"), "STALE", "nobody else probes");

    // A neighbour that has the address answers.
    let mac = mac_of(&site.topology.client, "eth0");
    site.ip(&format!("neigh replace {client} dev ext0 lladdr {mac} nud stale"));
    wait_for("the answer", PATIENCE, || state(&site, "ext0") == "REACHABLE");
}

/// `/sys` shows the namespace that it was mounted in, so `ip` is asked.
fn mac_of(namespace: &Namespace, link: &str) -> String {
    let run = || Command::new("ip").args(["-o", "link", "show", link]).output().unwrap();
    let shown = String::from_utf8(namespace.run(run).unwrap().stdout).unwrap();
    let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).unwrap().to_owned()
}

#[test]
fn generation_changes_with_routes_and_neighbours_but_not_with_their_confirmation() {
    privileged!();
    let site = Site::new(&[]);
    let _agent = site.start();
    let client = Topology::CLIENT[0];
    let changed = |what: &str, change: &dyn Fn()| {
        wait_for_rest(&site);
        let last = site.generation();
        change();
        let since = Instant::now();
        wait_for(what, PATIENCE, || site.generation() != last);
        assert!(site.generation() > last, "{what}");
        println!("{what}: {:?}", since.elapsed());
    };
    let route = Route::to("10.50.0.0/16".parse::<ipnet::IpNet>().unwrap()).via(client);
    changed("route added", &|| site.node().add_route(&route).unwrap());
    changed("route removed", &|| site.node().remove_route(&route).unwrap());
    changed("rule added", &|| _ = site.ip("rule add fwmark 7 table 100"));
    changed("address added", &|| site.node().add_address("ext0", "192.0.2.77/32".parse().unwrap()).unwrap());
    changed("MTU", &|| site.node().set_mtu("ext0", 1400).unwrap());
    let neighbour = |mac: &str, state: &str| {
        site.ip(&format!("neigh replace 192.0.2.99 dev ext0 lladdr {mac} nud {state}"));
    };
    changed("neighbour added", &|| neighbour("02:00:00:00:00:01", "permanent"));
    changed("neighbour's address", &|| neighbour("02:00:00:00:00:02", "permanent"));
    changed("neighbour gone", &|| _ = site.ip("neigh del 192.0.2.99 dev ext0"));

    neighbour("02:00:00:00:00:02", "permanent");
    wait_for_rest(&site);
    let before = site.generation();
    // `noarp` is as valid as `permanent`; a route's change afterwards says that the messages were read.
    neighbour("02:00:00:00:00:02", "noarp");
    neighbour("02:00:00:00:00:02", "permanent");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(site.generation(), before, "nothing that matters changed");
}

/// Waits until changes of before have had their effect: the number stays for a while.
fn wait_for_rest(site: &Site) {
    let (mut last, mut since) = (site.generation(), Instant::now());
    wait_for("the number to stay", PATIENCE, || {
        let now = site.generation();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(200)
    });
}
