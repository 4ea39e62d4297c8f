//! Rows of the feature table that need a network of their own: node port addresses that come late, a
//! rolling update under open connections, and a way that takes shorter packets.

#![forbid(unsafe_code)]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use aya::programs::XdpMode;
use seaway_common::{FLOW_FORWARD, proto};
use seaway_dataplane::{kernel_maps::KernelMaps, programs::Programs};
use seaway_harness::{Agent, AgentSetup, MemoryMaps, launcher, privileged, wait_for};
use seaway_lab::{
    Namespace, Topology,
    echo::{self, Listener, Protocol},
    probe::{Outcome, Probe, ProbeProcess, Transport},
};
use seaway_tests::network::{BOTH, ECHO_TCP, Network, Path, VIPS, ask, manifest, question, spread, vip};

const PATIENCE: Duration = Duration::from_secs(60);
const SERVICE: &str = "10.96.0.90";
const PORT: u16 = 80;
const ENDPOINTS: u8 = 10;
/// Open over the whole update, half of them from outside and half from the node itself.
const CONNECTIONS: usize = 1000;
/// Connections that are opened after each step.
const NEW: usize = 40;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn row_23_node_ports_follow_addresses_that_come_late() {
    privileged!();
    let mut network = Network::new(&[0, 1, 2]);
    network.setup = network.setup.arguments(["--nodeport-addresses", "192.0.2.64/26"]);
    network.setup.write(
        "node-port.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: late}\nspec:\n  type: NodePort\n  clusterIP: 10.96.0.81\n  \
         clusterIPs: [10.96.0.81]\n  ports:\n  - {name: echo, port: 80, targetPort: 8080, nodePort: 30080}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: late-1\n  \
         labels: {kubernetes.io/service-name: late}\naddressType: IPv4\nports:\n- {name: echo, port: 8080}\n\
         endpoints: [{addresses: [10.1.1.111]}]\n",
    );
    let _agent = network.start();
    let mut client = network.prober(Path::Xdp);
    let mut reached = |address: &str| {
        let to = SocketAddr::new(ip(address), 30_080);
        matches!(client.ask(&Probe::new(Transport::Tcp, to)).unwrap(), Outcome::Answered { .. })
    };
    // Neither the primary address, which is out of the range, nor one that is not there yet.
    assert!(!reached("192.0.2.1"));
    let node = network.topology.node.namespace();
    node.add_address(Topology::CLIENT_INTERFACE, "192.0.2.77/24".parse().unwrap()).unwrap();
    wait_for("the late address", PATIENCE, || reached("192.0.2.77"));
}

/// The answer to a socket with such a port would be taken for the traffic of a Service.
#[test]
fn local_programs_are_not_given_node_ports() {
    privileged!();
    const GIVEN: std::ops::Range<u16> = 32_768..32_776;
    let network = Network::new(&[0]);
    let node = network.topology.node.namespace();
    node.set("net/ipv4/ip_local_port_range", "32700 32775").unwrap();
    let _agent = network.start();
    let ports = node.run(|| {
        let sockets: Vec<_> = GIVEN.map(|_| UdpSocket::bind("192.0.2.1:0").unwrap()).collect();
        sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect::<BTreeSet<_>>()
    });
    assert_eq!(ports.unwrap(), GIVEN.collect());
}

/// A pod's address number `index` before and after the update.
fn endpoint(generation: u8, index: u8) -> IpAddr {
    IpAddr::from([10, 1, 2 + generation, 100 + index])
}

/// The Service while `replaced` of its endpoints have been replaced and the next one terminates.
fn rolling(policy: &str, replaced: u8) -> String {
    let mut endpoints: Vec<String> = Vec::new();
    for index in 0..ENDPOINTS {
        let entry = |address: IpAddr, terminating: bool| {
            let ready = !terminating;
            format!(
                "- {{addresses: [{address}], nodeName: node-1, conditions: {{ready: {ready}, serving: true, \
                 terminating: {terminating}}}}}"
            )
        };
        if index < replaced {
            endpoints.push(entry(endpoint(1, index), false));
        } else {
            endpoints.push(entry(endpoint(0, index), index == replaced));
        }
    }
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: rolling}}\nspec:\n  type: LoadBalancer\n  \
         externalTrafficPolicy: {policy}\n  clusterIP: {SERVICE}\n  clusterIPs: [{SERVICE}]\n  ports:\n  \
         - {{name: p, port: {PORT}, targetPort: 8080}}\nstatus: {{loadBalancer: {{ingress: [{{ip: 203.0.113.9}}]}}}}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: rolling-1\n  \
         labels: {{kubernetes.io/service-name: rolling}}\naddressType: IPv4\nports:\n- {{name: p, port: 8080}}\n\
         endpoints:\n{}\n",
        endpoints.join("\n")
    )
}

/// Servers on these addresses, in their pod.
fn serve(pod: &Namespace, generation: u8) -> seaway_lab::Server {
    let listener = |index| Listener {
        name: format!("{generation}-{index}"),
        protocol: Protocol::Tcp,
        address: SocketAddr::new(endpoint(generation, index), 8080),
    };
    echo::serve(pod, &(0..ENDPOINTS).map(listener).collect::<Vec<_>>()).unwrap()
}

fn check_rolling_update(policy: &str) {
    let addresses =
        [0, 1].map(|generation| (0..ENDPOINTS).map(|index| endpoint(generation, index)).collect::<Vec<_>>());
    let pods: Vec<(&str, &[IpAddr])> = vec![("old", &addresses[0]), ("new", &addresses[1])];
    let topology = Topology::new(&[ip("10.1.2.1")], &pods).unwrap();
    let servers: Vec<_> =
        topology.pods.iter().zip(0..).map(|(pod, number)| serve(&pod.namespace, number)).collect();
    let setup = AgentSetup::new(topology.interfaces()).arguments(["--node-name", "node-1"]);
    setup.write("rolling.yaml", &rolling(policy, 0));
    let mut agent: Agent = setup.start(topology.node.namespace());
    let start = |namespace: &Namespace, cgroup| ProbeProcess::start(namespace, &launcher(), cgroup).unwrap();
    let mut probers = [start(&topology.client, None), start(topology.node.namespace(), Some(setup.cgroup()))];
    let to = |path: usize| SocketAddr::new(ip(["203.0.113.9", SERVICE][path]), PORT);
    let mut open = Vec::new();
    for number in 0..CONNECTIONS {
        let path = number % 2;
        let probe = Probe { flow: Some(number.to_string()), ..question(Transport::Tcp, to(path)) };
        let (name, _) = ask(&mut probers[path], &probe);
        open.push((path, probe, name));
    }
    for replaced in 1..=ENDPOINTS {
        agent.apply("rolling.yaml", &rolling(policy, replaced));
        for number in 0..NEW {
            let (name, remote) = ask(&mut probers[number % 2], &question(Transport::Tcp, to(number % 2)));
            assert_eq!(remote, to(number % 2));
            let (generation, index) = name.split_once('-').unwrap();
            let (is_new, index) = (generation == "1", index.parse::<u8>().unwrap());
            assert!(
                if is_new { index < replaced } else { index > replaced },
                "{name} after {replaced} steps"
            );
        }
        let lost = open.iter().filter(|(path, probe, name)| {
            !matches!(probers[*path].ask(probe).unwrap(), Outcome::Answered { answer, .. } if answer.name == *name)
        });
        assert_eq!(lost.count(), 0, "of {CONNECTIONS} connections after {replaced} steps");
    }
    drop(servers);
}

#[test]
fn row_25_a_rolling_update_loses_no_connection_under_policy_cluster() {
    privileged!();
    check_rolling_update("Cluster");
}

#[test]
fn row_25_a_rolling_update_loses_no_connection_under_policy_local() {
    privileged!();
    check_rolling_update("Local");
}

/// A line so long that it takes many packets of full length, and its answer.
fn long_question(to: SocketAddr) -> std::io::Result<String> {
    const LINE: usize = 200_000;
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut greeting = String::new();
    answers.read_line(&mut greeting)?;
    stream.write_all(&vec![b'x'; LINE])?;
    stream.write_all(b"\n")?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    Ok(answer)
}

/// Packets of the usual length do not fit into the pod's link: the client is told, in both families.
#[test]
fn row_31_a_shorter_way_behind_the_service_is_found_out() {
    privileged!();
    let mut network = Network::new(&[0]);
    // XDP at the pod's link would keep the pod from sending segments in one piece, and the frames that it sends
    // then are longer than the node's end takes.
    let uplink = vec![Topology::CLIENT_INTERFACE.to_owned()];
    network.setup = AgentSetup::new(uplink).arguments(["--pod-interface", "pod-*"]);
    network.setup.write("echo.yaml", &manifest(&[0]));
    let pod = &network.topology.pods[0];
    network.topology.node.namespace().set_mtu(&pod.interface, 1300).unwrap();
    let _agent = network.start();
    for (family, _) in VIPS.iter().enumerate() {
        let begun = Instant::now();
        let answer = network.topology.client.run(|| long_question(vip(family, ECHO_TCP))).unwrap().unwrap();
        assert!(answer.contains("pod-1"), "{answer}");
        assert!(begun.elapsed() < PATIENCE);
    }
}

/// Packets larger than a page come to XDP in several buffers. Kernels that do not know this keep the
/// program out of the driver.
#[test]
fn row_29_jumbo_frames_keep_the_program_in_the_driver() {
    privileged!();
    const SIZE: usize = 8500;
    let network = Network::new(&[0]);
    let node = network.topology.node.namespace();
    let pod = &network.topology.pods[0];
    let links = [
        (&network.topology.client, "eth0"),
        (node, Topology::CLIENT_INTERFACE),
        (node, &*pod.interface),
        (&pod.namespace, "eth0"),
    ];
    for (namespace, link) in links {
        namespace.set_mtu(link, 9000).unwrap();
    }
    let takes = |xdp_frags| {
        let probe =
            seaway_dataplane::probe::Probe { xdp_frags, ..seaway_dataplane::probe::Probe::run().unwrap() };
        let mut programs = Programs::load(&probe, &MemoryMaps::CAPACITIES, None).unwrap();
        let xdp = programs.xdp().unwrap();
        node.run(|| xdp.attach(Topology::CLIENT_INTERFACE, XdpMode::Driver).is_ok()).unwrap()
    };
    assert!(takes(true) && !takes(false));
    let _agent = network.start();
    let mut client = network.prober(Path::Xdp);
    for (family, _) in VIPS.iter().enumerate() {
        let to = vip(family, BOTH);
        let long = Probe { size: SIZE, ..question(Transport::Udp, to) };
        assert_eq!(ask(&mut client, &long), ("pod-1".to_owned(), to));
        let answer = network.topology.client.run(|| long_question(vip(family, ECHO_TCP))).unwrap().unwrap();
        assert!(answer.contains("pod-1"), "{answer}");
    }
}

/// A load balancer's IPv6 address in front of pods that have IPv4 alone, and the other way round.
#[test]
fn row_33_a_load_balancer_of_the_other_family_is_served() {
    privileged!();
    let mut network = Network::new(&[]);
    network.setup = network.setup.arguments(["--nat46x64"]);
    let manifest = |name: &str, family: &str, own: &str, balancer: &str, pod: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  type: LoadBalancer\n  \
             clusterIP: '{own}'\n  clusterIPs: ['{own}']\n  ipFamilies: [{family}]\n  ports:\n  \
             - {{name: tcp, port: 80, targetPort: 8080}}\n  - {{name: udp, port: 53, targetPort: 8053, protocol: UDP}}\n\
             status: {{loadBalancer: {{ingress: [{{ip: '{balancer}'}}]}}}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-1\n  \
             labels: {{kubernetes.io/service-name: {name}}}\naddressType: {family}\nports:\n\
             - {{name: tcp, port: 8080}}\n- {{name: udp, port: 8053, protocol: UDP}}\n\
             endpoints: [{{addresses: ['{pod}']}}]\n"
        )
    };
    let six = manifest("six", "IPv4", "10.96.0.82", "2001:db8:1b::9", "10.1.1.111");
    let four = manifest("four", "IPv6", "fd96::82", "203.0.113.9", "fd77:1::12");
    network.setup.write("services.yaml", &format!("{six}---\n{four}"));
    let _agent = network.start();
    let mut client = network.prober(Path::Xdp);
    for (balancer, pod) in [("2001:db8:1b::9", "pod-1"), ("203.0.113.9", "pod-2")] {
        for (transport, port) in [(Transport::Tcp, 80), (Transport::Udp, 53)] {
            let to = SocketAddr::new(ip(balancer), port);
            assert_eq!(ask(&mut client, &question(transport, to)), (pod.to_owned(), to));
        }
    }
}

/// Ten thousand client sockets, each with a flow of its own that is still known at the end.
#[test]
fn row_03_ten_thousand_flows_are_kept_at_once() {
    privileged!();
    const FLOWS: usize = 10_000;
    let network = Network::new(&[0, 1, 2]);
    let _agent = network.start();
    let mut client = network.prober(Path::Xdp);
    let counts = spread(&mut client, Transport::Udp, vip(0, BOTH), FLOWS);
    assert_eq!((counts.len(), counts.values().sum::<usize>()), (3, FLOWS), "{counts:?}");
    let maps = KernelMaps::open(&network.setup.pin_dir().join("maps")).unwrap();
    let flows = maps.flows().unwrap();
    let clients: BTreeSet<u16> = flows
        .iter()
        .filter(|(key, value)| value.state & FLOW_FORWARD != 0 && key.proto == proto::UDP)
        .map(|(key, _)| key.sport.get())
        .collect();
    assert!(clients.len() > FLOWS * 9 / 10, "{} client ports, {} entries", clients.len(), flows.len());
}

/// Questions and answers of 64 KiB on one connection until `ended`; how many there were.
fn transfer(to: SocketAddr, ended: &AtomicBool) -> std::io::Result<usize> {
    let mut line = vec![b'x'; 64 << 10];
    *line.last_mut().expect("a line") = b'\n';
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    let mut rounds = 0;
    while !ended.load(Ordering::Acquire) {
        stream.write_all(&line)?;
        answer.clear();
        if answers.read_line(&mut answer)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        rounds += 1;
    }
    Ok(rounds)
}

#[test]
fn row_26_a_transfer_outlives_kill_and_restart_in_its_middle() {
    privileged!();
    let network = Network::new(&[0, 1]);
    let agent = network.start();
    let ended = AtomicBool::new(false);
    let client = &network.topology.client;
    let rounds = std::thread::scope(|scope| {
        let running = scope.spawn(|| client.run(|| transfer(vip(0, ECHO_TCP), &ended)).unwrap());
        agent.kill();
        let agent = network.start();
        agent.kill();
        let _agent = network.start();
        ended.store(true, Ordering::Release);
        running.join().unwrap()
    });
    assert!(rounds.unwrap() > 100, "the transfer did not go on");
}
