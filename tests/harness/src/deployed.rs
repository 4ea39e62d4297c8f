//! The arguments that `deploy/` starts the agent with.

use serde_json::Value;

const DAEMON_SET: &str = include_str!("../../../deploy/kustomize/daemonset.yaml");

/// The arguments of the DaemonSet's container, without the subcommand `agent`. Those that name a place of a
/// real node (`--cgroup`) are among them.
///
/// # Panics
/// When the manifest is not that of one container with arguments.
#[must_use]
pub fn deployed_arguments() -> Vec<String> {
    let object: Value = serde_saphyr::from_str(DAEMON_SET).expect("the DaemonSet is YAML");
    let arguments = &object["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments = arguments.as_array().expect("the container has arguments").iter();
    let mut arguments = arguments.map(|argument| argument.as_str().expect("arguments are texts").to_owned());
    assert_eq!(arguments.next().as_deref(), Some("agent"), "the subcommand comes first");
    arguments.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_left_to_the_agent() {
        let arguments = deployed_arguments();
        assert!(arguments.iter().any(|argument| argument.starts_with("--cgroup=")), "{arguments:?}");
        assert!(arguments.iter().all(|argument| !argument.contains("interface")), "{arguments:?}");
    }
}
