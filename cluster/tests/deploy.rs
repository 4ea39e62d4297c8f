//! What `deploy/` holds is what the API server would take, and asks for no more rights than the agent
//! uses.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use seaway_harness::{skip, test_name};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The documents of a manifest, each decoded as its kind, without a field that the kind does not have.
fn check(manifest: &str) -> Vec<Value> {
    let texts = manifest.split("\n---\n").filter(|text| text.contains("kind:"));
    let documents: Vec<Value> = texts.map(|text| serde_saphyr::from_str(text).unwrap()).collect();
    for document in &documents {
        match document["kind"].as_str().unwrap() {
            "ServiceAccount" => typed::<ServiceAccount>(document),
            "ClusterRole" => typed::<ClusterRole>(document),
            "ClusterRoleBinding" => typed::<ClusterRoleBinding>(document),
            "DaemonSet" => typed::<DaemonSet>(document),
            other => panic!("{other} is not deployed"),
        }
    }
    documents
}

fn typed<T: DeserializeOwned>(document: &Value) {
    let mut unknown = Vec::new();
    let read: Result<T, _> = serde_ignored::deserialize(document, |path| unknown.push(path.to_string()));
    assert!(read.is_ok(), "{:?}: {document}", read.err());
    assert_eq!(unknown, Vec::<String>::new(), "fields that {} does not have", document["kind"]);
}

/// The objects, whose rights and capabilities are the least that the agent works with.
fn check_objects(documents: &[Value]) {
    let of = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap();
    assert_eq!(documents.len(), 4);
    let mut rights = BTreeSet::new();
    for rule in of("ClusterRole")["rules"].as_array().unwrap() {
        assert_eq!(rule["verbs"], serde_json::json!(["get", "list", "watch"]));
        rights.extend(rule["resources"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()));
    }
    assert_eq!(
        rights,
        BTreeSet::from([
            "endpointslices",
            "namespaces",
            "nodes",
            "pods",
            "servicecidrs",
            "serviceimports",
            "services"
        ])
    );
    let pod = &of("DaemonSet")["spec"]["template"]["spec"];
    let security = &pod["containers"][0]["securityContext"];
    assert_eq!(security["capabilities"]["add"], serde_json::json!(["BPF", "NET_ADMIN", "PERFMON"]));
    assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!((&security["privileged"], &security["readOnlyRootFilesystem"]), (&false.into(), &true.into()));
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!((&pod["hostPID"], &pod["hostIPC"]), (&Value::Null, &Value::Null));
    check_probes(&pod["containers"][0]);
    check_mounts(pod);
}

/// Probes ask where the agent answers if no flag says otherwise, on the node itself.
fn check_probes(container: &Value) {
    let arguments = container["args"].as_array().unwrap();
    let text = |argument: &Value| argument.as_str().unwrap().to_owned();
    assert!(arguments.iter().map(text).all(|flag| !flag.starts_with("--healthz-bind-address")));
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/healthz")] {
        let expected = serde_json::json!({"host": "127.0.0.1", "path": path, "port": 10256});
        assert_eq!(container[probe]["httpGet"], expected, "{probe}");
    }
}

/// What is mounted is there, and writable only where the agent writes.
fn check_mounts(pod: &Value) {
    let places = [
        ("bpf", "/sys/fs/bpf", "Directory", true),
        ("cgroup", "/sys/fs/cgroup", "Directory", false),
        ("run", "/run/seaway", "DirectoryOrCreate", true),
    ];
    let list = |value: &Value| value.as_array().unwrap().clone();
    let (mounts, volumes) = (list(&pod["containers"][0]["volumeMounts"]), list(&pod["volumes"]));
    assert_eq!((mounts.len(), volumes.len()), (places.len(), places.len()));
    for ((mount, volume), (name, path, kind, writable)) in mounts.iter().zip(&volumes).zip(places) {
        assert_eq!((&mount["name"], &mount["mountPath"]), (&name.into(), &path.into()));
        assert_eq!(mount["readOnly"] != true, writable, "{name}");
        assert_eq!(*volume, serde_json::json!({"name": name, "hostPath": {"path": path, "type": kind}}));
    }
}

#[test]
fn kustomize_objects_are_of_the_api_and_ask_for_little() {
    let read = |name: &str| fs::read_to_string(folder().join("kustomize").join(name)).unwrap();
    check_objects(&check(&format!("{}\n---\n{}", read("rbac.yaml"), read("daemonset.yaml"))));
}

/// Renders with a tool; without it, the test is counted as skipped.
fn rendered(command: &mut Command) -> Option<String> {
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            skip(&test_name(module_path!()), &format!("{:?}: {error}", command.get_program()));
            None
        }
    }
}

fn kustomization() -> Option<Vec<Value>> {
    let text = rendered(Command::new("kubectl").arg("kustomize").arg(folder().join("kustomize")))?;
    Some(check(&text))
}

/// The chart's objects in the namespace that the kustomization has, with these values set.
fn chart(values: &[&str]) -> Option<Vec<Value>> {
    let mut helm = Command::new("helm");
    helm.args(["template", "seaway"]).arg(folder().join("helm/seaway")).args(["--namespace", "kube-system"]);
    helm.args(values.iter().flat_map(|value| ["--set", value]));
    Some(check(&rendered(&mut helm)?))
}

fn sorted(mut documents: Vec<Value>) -> Vec<Value> {
    documents.sort_by_key(|document| document["kind"].as_str().unwrap().to_owned());
    documents
}

#[test]
fn kubectl_renders_the_kustomization() {
    if let Some(documents) = kustomization() {
        check_objects(&documents);
    }
}

#[test]
fn chart_with_its_own_values_is_the_kustomization() {
    if let (Some(chart), Some(kustomization)) = (chart(&[]), kustomization()) {
        check_objects(&chart);
        assert_eq!(sorted(chart), sorted(kustomization));
    }
}

#[test]
fn values_of_the_chart_reach_the_agent() {
    let values = [
        "interfaces={eth0,bond*}",
        "podInterfaces={cni0}",
        "extraArgs={--cluster-cidr=10.0.0.0/8,--log=debug}",
        "apiServer.host=192.0.2.7",
        "image=registry.example/seaway:1",
        "resources.limits.memory=256Mi",
    ];
    let Some(documents) = chart(&values) else { return };
    check_objects(&documents);
    let set = documents.iter().find(|document| document["kind"] == "DaemonSet").unwrap();
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let arguments = [
        "agent",
        "--interface=eth0,bond*",
        "--pod-interface=cni0",
        "--cgroup=/sys/fs/cgroup",
        "--metrics-bind-address=0.0.0.0:10249",
        "--log-format=json",
        "--cluster-cidr=10.0.0.0/8",
        "--log=debug",
    ];
    assert_eq!(container["args"], serde_json::json!(arguments));
    assert_eq!(container["image"], "registry.example/seaway:1");
    assert_eq!(container["env"][1]["value"], "192.0.2.7");
    assert_eq!(container["env"][2]["value"], "6443");
    assert_eq!(container["resources"]["limits"]["memory"], "256Mi");
}

/// The chart refuses these values, and names what is wrong.
#[test]
fn wrong_values_of_the_chart_are_refused_by_name() {
    let cases = [
        ("interfaces=eth0", "/interfaces"),
        ("interfaces={eth0 eth1}", "/interfaces/0"),
        ("podInterfaces=cni0", "/podInterfaces"),
        ("inteface={eth0}", "inteface"),
        ("apiServer.port=https", "/apiServer/port"),
        ("apiServer.host=https://192.0.2.7:6443", "/apiServer/host"),
        ("cgroup=sys/fs/cgroup", "/cgroup"),
        ("logFormat=xml", "/logFormat"),
        ("extraArgs={cluster-cidr=10.0.0.0/8}", "/extraArgs/0"),
    ];
    for (value, named) in cases {
        let mut helm = Command::new("helm");
        helm.args(["template", "seaway"]).arg(folder().join("helm/seaway")).args(["--set", value]);
        let output = match helm.output() {
            Ok(output) => output,
            Err(error) => return skip(&test_name(module_path!()), &format!("helm: {error}")),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(named), "{value}: {said}");
    }
}

#[test]
fn without_interfaces_the_chart_leaves_them_to_the_agent() {
    let mut helm = Command::new("helm");
    helm.args(["template", "seaway"]).arg(folder().join("helm/seaway")).args(["--set-json", "interfaces=[]"]);
    let Some(text) = rendered(&mut helm) else { return };
    assert!(!text.contains("--interface") && text.contains("--cgroup=/sys/fs/cgroup"), "{text}");
}

#[test]
fn every_value_that_a_template_names_has_a_default() {
    let chart = folder().join("helm/seaway");
    let values: Value =
        serde_saphyr::from_str(&fs::read_to_string(chart.join("values.yaml")).unwrap()).unwrap();
    for template in ["daemonset.yaml", "rbac.yaml"] {
        let text = fs::read_to_string(chart.join("templates").join(template)).unwrap();
        for named in text.split(".Values.").skip(1) {
            let end = named.find(|next: char| !next.is_ascii_alphanumeric() && next != '.');
            let path = named[..end.unwrap_or(named.len())].trim_end_matches('.');
            let found = path.split('.').try_fold(&values, |value, key| value.get(key));
            assert!(found.is_some(), "{template} names .Values.{path}, which values.yaml does not have");
        }
    }
}

#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let monitoring = folder().join("monitoring");
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(monitoring.join("dashboard.json")).unwrap()).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() >= 8));
    let alerts = fs::read_to_string(monitoring.join("alerts.yaml")).unwrap();
    let parsed: Value = serde_saphyr::from_str(&alerts).unwrap();
    assert!(parsed["groups"][0]["rules"].as_array().is_some_and(|rules| rules.len() >= 4));
    let known = ["metrics.rs", "metrics/followed.rs", "metrics/kernel.rs"]
        .map(|file| fs::read_to_string(folder().join("../dataplane/src").join(file)).unwrap());
    let known = known.concat();
    let texts = format!("{dashboard}{alerts}");
    for word in texts.split(|next: char| !next.is_ascii_alphanumeric() && next != '_') {
        if let Some(name) = word.strip_prefix("kubeproxy_").or(word.strip_prefix("seaway_")) {
            let name = name.trim_end_matches("_bucket").trim_end_matches("_total");
            let rule = name.trim_start_matches("sync_proxy_rules_");
            assert!(known.contains(rule), "{word} is no metric of the agent");
        }
    }
}
