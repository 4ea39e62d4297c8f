//! The other kinds, and documents that hold none.

use seaway_cluster::{AddressFamily, ObjectName};

use super::{check_left_out, read};

const SLICE: &str = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
    metadata: {name: s, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\n";

/// The one slice of `default/web`, as lines; see [`seaway_cluster::EndpointSlice`].
fn check_slice(rest: &str, ports: &str, endpoints: &str, warnings: &[&str]) {
    let snapshot = read(&format!("{SLICE}{rest}"), warnings);
    let slice = snapshot.slices_of(&ObjectName::new("default", "web")).next().unwrap();
    assert_eq!(slice.family, AddressFamily::Ipv4);
    let found: Vec<_> =
        slice.ports.iter().map(|p| format!("{:?}/{}/{}", p.name, p.protocol, p.port)).collect();
    assert_eq!(found.join(" "), ports, "{rest}");
    let found: Vec<_> = slice.endpoints.iter().map(|e| e.address.to_string()).collect();
    assert_eq!(found.join(" "), endpoints, "{rest}");
}

#[test]
fn a_slice_port_needs_a_number_but_no_name() {
    check_slice("ports: [{port: 80}]", "\"\"/TCP/80", "", &[]);
    check_slice("ports: [{name: dns, port: 53, protocol: UDP}]", "\"dns\"/UDP/53", "", &[]);
    check_slice("ports: [{name: a}, {name: b, port: 0}, {name: c, port: 1}]", "\"c\"/TCP/1", "", &[]);
    check_slice("ports: null", "", "", &[]);
}

#[test]
fn an_endpoint_without_an_address_of_the_family_is_left_out_alone() {
    let left_out = |index: usize, problem: &str| {
        format!(
            "text, document 1, line 1: EndpointSlice default/s: endpoints[{index}].addresses[0]: {problem}; the \
             endpoint is left out"
        )
    };
    check_slice(
        "endpoints: [{addresses: [10.0.0.1, 10.0.0.2]}, {addresses: []}, {addresses: [x]}, {addresses: ['::1']}]",
        "",
        "10.0.0.1",
        &[
            &left_out(1, "there is no address"),
            &left_out(2, "\"x\" is not an IP address"),
            &left_out(3, "::1 is not an IPv4 address, as addressType says"),
        ],
    );
}

#[test]
fn endpoints_keep_their_conditions_place_and_hints() {
    let snapshot = read(
        &format!(
            "{SLICE}endpoints:\n\
             - {{addresses: [10.0.0.1]}}\n\
             - {{addresses: [10.0.0.2], conditions: {{ready: false, serving: false, terminating: true}}, \
             nodeName: n1, zone: z1, hostname: h, targetRef: {{kind: Pod, name: p}}, \
             hints: {{forZones: [{{name: z1}}], forNodes: [{{name: n1}}]}}}}\n\
             - {{addresses: [10.0.0.3], nodeName: '', zone: '', hostname: '', targetRef: {{kind: VM, name: v}}}}\n"
        ),
        &[],
    );
    let slice = snapshot.slices.values().flat_map(|slices| slices.values()).next().unwrap();
    let found: Vec<_> = slice.endpoints.iter().map(|endpoint| format!("{endpoint:?}")).collect();
    let plain = |address: &str| {
        format!(
            "Endpoint {{ address: {address}, ready: true, serving: true, terminating: false, \
             hostname: None, pod: None, locality: None }}"
        )
    };
    let full = "Endpoint { address: 10.0.0.2, ready: false, serving: false, terminating: true, \
                hostname: Some(\"h\"), pod: Some(\"p\"), locality: Some(Locality { node: Some(\"n1\"), zone: Some(\"z1\"), \
                hints: Hints { zones: [\"z1\"], nodes: [\"n1\"] } }) }";
    assert_eq!(found, [plain("10.0.0.1"), full.to_owned(), plain("10.0.0.3")]);
}

#[test]
fn a_slice_without_a_service_or_with_host_names_is_passed_over() {
    let slice = |labels: &str, kind: &str| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s, labels: {labels}}}, \
             addressType: {kind}}}"
        )
    };
    check_left_out(&slice("{}", "IPv4"), &[]);
    check_left_out(&slice("null", "IPv4"), &[]);
    check_left_out(&slice("{kubernetes.io/service-name: ''}", "IPv4"), &[]);
    check_left_out(&slice("{kubernetes.io/service-name: web}", "FQDN"), &[]);
    check_left_out(
        &slice("{kubernetes.io/service-name: web}", "IPv5"),
        &[
            "text, document 1, line 1: EndpointSlice default/s: addressType: \"IPv5\" is not an address type (IPv4, IPv6 \
           or FQDN)",
        ],
    );
}

#[test]
fn a_pod_has_the_ports_of_its_containers_and_sidecars() {
    let snapshot = read(
        "apiVersion: v1\n\
         kind: Pod\n\
         metadata: {name: p, namespace: shop, labels: {app: web}, deletionTimestamp: 2026-01-01T00:00:00Z}\n\
         spec:\n\
         \x20 nodeName: n1\n\
         \x20 hostname: h\n\
         \x20 subdomain: web\n\
         \x20 initContainers:\n\
         \x20 - {name: setup, ports: [{containerPort: 1}]}\n\
         \x20 - {name: mesh, restartPolicy: Always, ports: [{name: mesh, containerPort: 2, hostPort: 3, hostIP: 0.0.0.0}]}\n\
         \x20 containers:\n\
         \x20 - {name: web, ports: [{name: http, containerPort: 80, hostPort: 8080, hostIP: 10.0.0.9}]}\n\
         status: {podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}, {ip: 'fd00::1'}], phase: Running,\n\
         \x20 conditions: [{type: Ready, status: 'True'}]}\n",
        &[],
    );
    let pod = snapshot.pods.values().next().unwrap();
    let ports =
        pod.ports.iter().map(|p| format!("{}:{}:{}:{:?}", p.name, p.container_port, p.host_port, p.host_ip));
    assert_eq!(ports.collect::<Vec<_>>(), ["http:80:8080:Some(10.0.0.9)", "mesh:2:3:None"]);
    assert_eq!(format!("{:?}", pod.addresses), "[10.1.0.1, fd00::1]");
    assert_eq!((pod.ready, pod.deleting, pod.finished), (true, true, false));
    assert_eq!((pod.node.as_deref(), pod.hostname.as_deref()), (Some("n1"), Some("h")));
    assert_eq!(pod.subdomain.as_deref(), Some("web"));
}

#[test]
fn a_node_has_its_internal_addresses_first() {
    let snapshot = read(
        "apiVersion: v1\n\
         kind: Node\n\
         metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}\n\
         spec: {podCIDRs: [10.1.0.7/24, x], taints: [{key: k, effect: NoSchedule}]}\n\
         status: {addresses: [{type: ExternalIP, address: 192.0.2.1}, {type: Hostname, address: n1},\n\
         \x20 {type: InternalIP, address: 10.0.0.1}]}\n",
        &["text, document 1, line 1: Node n1: spec.podCIDRs[1]: \"x\" is not an address range; left out"],
    );
    let node = &snapshot.nodes["n1"];
    assert_eq!(format!("{:?} {:?}", node.addresses, node.pod_cidrs), "[10.0.0.1, 192.0.2.1] [10.1.0.0/24]");
    assert_eq!((node.zone.as_deref(), node.deleting, node.taints.len()), (Some("z1"), false, 1));
}

#[test]
fn a_namespace_carries_its_name_as_a_label() {
    let snapshot = read("{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {a: b}}}", &[]);
    let labels = format!("{:?}", snapshot.namespaces["shop"].labels);
    assert_eq!(labels, "{\"a\": \"b\", \"kubernetes.io/metadata.name\": \"shop\"}");
}

#[test]
fn documents_that_are_no_object_are_named_with_their_line() {
    check_left_out("# nothing\n---\n", &[]);
    check_left_out("{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}", &[]);
    check_left_out("kind: Service\n", &["text, document 1, line 1: apiVersion is missing"]);
    check_left_out("---\n\n# c\napiVersion: v1\n", &["text, document 1, line 4: kind is missing"]);
    check_left_out(
        "---\na: 1\n---\n{a: [\n",
        &[
            "text, document 1, line 2: kind is missing",
            "text, document 2, line 4: cannot be read: unclosed bracket '['",
        ],
    );
    check_left_out(
        "apiVersion: v1\nkind: Service\n",
        &["text, document 1, line 1: Service default/: metadata.name: is missing"],
    );
    check_left_out(
        "apiVersion: v1beta1\nkind: Endpoints\nmetadata: {name: a}\n",
        &["text, document 1, line 1: Endpoints of apiVersion \"v1beta1\" is not read, only that of \"v1\""],
    );
    check_left_out(
        "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List}]\n",
        &["text, document 1, line 3: a list within a list is not read"],
    );
    check_left_out(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  selector: text\n",
        &[
            "text, document 1, line 5: Service default/a: spec.selector: cannot be read: expected mapping start",
        ],
    );
}

#[test]
fn lists_hold_objects_of_any_kind_or_of_their_own() {
    let snapshot = read(
        "apiVersion: v1\n\
         kind: List\n\
         items:\n\
         - {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: 10.0.0.1}}\n\
         - {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n\
         - {apiVersion: v1, kind: Node, metadata: {name: n}, specs: {}}\n\
         ---\n\
         apiVersion: v1\n\
         kind: ServiceList\n\
         items:\n\
         - {metadata: {name: b}, spec: {clusterIP: 10.0.0.2}}\n\
         - {metadata: {name: c}, spec: {clusterIP: 10.0.0}}\n\
         ---\n\
         {\"apiVersion\":\"v1\",\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"name\":\"p\"}}]}\n\
         ---\n\
         {apiVersion: v1, kind: NodeList, items: null}\n",
        &[
            "text, document 1, line 6: Node n: specs: is not a field of this Node; ignored",
            "text, document 2, line 12: Service default/c: spec.clusterIPs[0]: \"10.0.0\" is not an IP address",
        ],
    );
    assert_eq!(
        snapshot.services.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["default/a", "default/b"]
    );
    assert_eq!((snapshot.nodes.len(), snapshot.pods.len()), (1, 1));
}

#[test]
fn json_is_read_with_its_tabs_and_escapes() {
    let snapshot = read(
        "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Service\",\n\t\"metadata\": {\"name\": \"a\",\t\"annotations\": \
         {\"seaway.io/note\": \"\\u00e9\\ud83d\\ude00\\/\"}},\n\t\"spec\": {\"clusterIP\": \"10.0.0.9\"}\n}\n",
        &[],
    );
    let service = snapshot.services.values().next().unwrap();
    assert_eq!(service.annotations.get("note").map(|note| &**note), Some("é😀/"));
}

const IMPORTED: &str = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
    endpoints: [{addresses: [10.0.0.1]}]\nmetadata: {name: s, labels: ";

#[test]
fn a_slice_is_part_of_a_service_and_of_a_service_import() {
    let web = ObjectName::new("default", "web");
    let labels = "{kubernetes.io/service-name: derived, multicluster.kubernetes.io/service-name: web, \
                  multicluster.kubernetes.io/source-cluster: east}}";
    let snapshot = read(&format!("{IMPORTED}{labels}"), &[]);
    let own = snapshot.slices_of(&ObjectName::new("default", "derived")).next().unwrap();
    let imported = snapshot.imported[&web].values().next().unwrap();
    assert_eq!((own.cluster.as_deref(), imported.cluster.as_deref()), (None, Some("east")));
    assert_eq!(imported.endpoints, own.endpoints);
    let without = "{kubernetes.io/service-name: derived, multicluster.kubernetes.io/service-name: web}}";
    let problem = "text, document 1, line 1: EndpointSlice default/s: metadata.labels: \
                   multicluster.kubernetes.io/source-cluster is missing or no DNS label; \
                   multicluster.kubernetes.io/service-name is ignored";
    let snapshot = read(&format!("{IMPORTED}{without}"), &[problem]);
    assert_eq!((snapshot.slices.len(), snapshot.imported.len()), (1, 0));
}

#[test]
fn a_service_import_has_the_addresses_and_ports_of_its_kind() {
    let import = |spec: &str| {
        format!(
            "{{apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImport, metadata: {{name: web}}, \
             spec: {spec}, status: {{clusters: [{{cluster: east}}]}}}}"
        )
    };
    let found = |spec: &str, warnings: &[&str]| {
        let snapshot = read(&import(spec), warnings);
        let import = &snapshot.imports[&ObjectName::new("default", "web")];
        let ports =
            import.ports.iter().map(|port| format!("{:?}/{}/{}", port.name, port.protocol, port.port));
        (import.headless, import.addresses.clone(), ports.collect::<Vec<_>>().join(" "))
    };
    let place = "text, document 1, line 1: ServiceImport default/web: ";
    let spec = "{type: ClusterSetIP, ips: [10.42.42.42, x], ports: [{name: http, port: 80, protocol: TCP}, {port: 53}]}";
    let note = format!("{place}spec.ips[1]: \"x\" is not an IP address; left out");
    let address = "10.42.42.42".parse().unwrap();
    assert_eq!(found(spec, &[&note]), (false, vec![address], "\"http\"/TCP/80 \"\"/TCP/53".to_owned()));
    assert_eq!(found("{type: Headless, ips: []}", &[]), (true, Vec::new(), String::new()));
    let problem = format!("{place}spec.type: \"None\" is neither ClusterSetIP nor Headless");
    check_left_out(&import("{type: None}"), &[&problem]);
}
