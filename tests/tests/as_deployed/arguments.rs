//! The arguments of the DaemonSet.

use std::fs;

use serde_json::Value;

const DAEMON_SET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kustomize/daemonset.yaml");
/// What the lab gives by itself.
const OWN: [&str; 4] = ["--cgroup", "--pin-dir", "--run-dir", "--node-name"];

/// What follows the subcommand, without what is another in a lab.
pub(crate) fn deployed() -> Vec<String> {
    let text = fs::read_to_string(DAEMON_SET).unwrap_or_else(|error| panic!("{DAEMON_SET}: {error}"));
    let daemon_set: Value =
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{DAEMON_SET}: {error}"));
    let arguments = daemon_set.pointer("/spec/template/spec/containers/0/args").and_then(Value::as_array);
    let arguments: Vec<&str> = arguments.expect("arguments").iter().filter_map(Value::as_str).collect();
    assert_eq!(arguments.first(), Some(&"agent"), "{arguments:?}");
    // A flag whose value follows it as another argument could not be left out.
    assert!(
        arguments[1..].iter().all(|argument| argument.starts_with("--") && argument.contains('=')),
        "{arguments:?}"
    );
    let is_own = |argument: &&&str| {
        !OWN.iter().any(|own| argument.strip_prefix(own).is_some_and(|rest| rest.starts_with('=')))
    };
    arguments[1..].iter().filter(is_own).map(|argument| (*argument).to_owned()).collect()
}

#[test]
fn arguments_of_the_deployment_are_taken_as_they_are() {
    let arguments = deployed();
    assert!(arguments.iter().any(|argument| argument.starts_with("--log-format")), "{arguments:?}");
    assert!(!arguments.iter().any(|argument| argument.starts_with("--cgroup")), "{arguments:?}");
}
