//! Rules about the tree that no compiler checks: who may depend on whom, and how files begin.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::workspace;

/// Workspace crates that a crate may depend on outside of its tests. One that is not listed may
/// depend on none.
const ARROWS: [(&str, &[&str]); 10] = [
    ("seaway-ebpf", &["seaway-common"]),
    ("seaway-dataplane", &["seaway-common", "seaway-cluster"]),
    ("seaway-dns", &["seaway-cluster"]),
    (
        "seaway",
        &["seaway-apf", "seaway-cluster", "seaway-common", "seaway-dataplane", "seaway-dns", "seaway-lab"],
    ),
    ("seaway-lab", &[]),
    ("seaway-apf", &[]),
    ("seaway-apf-grpc-example", &["seaway-apf"]),
    ("seaway-harness", &["seaway-cluster", "seaway-common", "seaway-dataplane", "seaway-ebpf", "seaway-lab"]),
    ("seaway-tests", ANY),
    ("seaway-benches", ANY),
];

const ANY: &[&str] = &["*"];

/// Foreign crates that belong to few.
const OWNERS: [(&str, &[&str]); 8] = [
    ("aya", &["seaway-dataplane", "seaway-tests"]),
    ("aya-ebpf", &["seaway-ebpf"]),
    ("k8s-openapi", &["seaway-cluster"]),
    ("kube", &["seaway-cluster"]),
    ("hickory-proto", &["seaway-dns"]),
    ("tower", &["seaway", "seaway-apf"]),
    ("anyhow", &["seaway", "seaway-benches", "seaway-tests", "xtask"]),
    ("clap", &["seaway", "seaway-benches", "seaway-tests", "xtask"]),
];

/// Names of files that say nothing.
const EMPTY_NAMES: [&str; 7] =
    ["utils.rs", "util.rs", "helpers.rs", "misc.rs", "manager.rs", "types.rs", "mod.rs"];

/// Crates in which unsafe code is allowed, where a reason is given.
const UNSAFE: [&str; 2] = ["dataplane/", "ebpf/"];

#[test]
fn arrows_between_crates_are_those_of_the_architecture() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let allowed =
            ARROWS.iter().find(|(name, _)| package.name.as_str() == *name).map_or(&[][..], |(_, to)| to);
        for dependency in needed(package) {
            let permitted = allowed.contains(&dependency) || allowed == ANY;
            if ours.contains(dependency) && !permitted {
                wrong.push(format!("{} must not depend on {dependency}", package.name));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn foreign_crates_stay_with_their_owners() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        for (foreign, owners) in OWNERS {
            if needed(package).any(|name| name == foreign) && !owners.contains(&package.name.as_str()) {
                wrong.push(format!("{foreign} belongs to {owners:?}, not to {}", package.name));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn every_source_file_opens_by_saying_what_it_is() {
    let opens = |text: &str| text.starts_with("//! ");
    let silent: Vec<String> = sources().into_iter().filter(|file| !opens(&read(file))).collect();
    assert_eq!(silent, [""; 0]);
}

#[test]
fn file_names_say_what_is_inside() {
    let named = |file: &str| {
        let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        !EMPTY_NAMES.contains(&name)
    };
    let wrong: Vec<String> = sources().into_iter().filter(|file| !named(file)).collect();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn unsafe_code_is_forbidden_outside_of_the_kernel_facing_crates() {
    let roots =
        sources().into_iter().filter(|file| file.ends_with("src/lib.rs") || file.ends_with("src/main.rs"));
    let checked = roots.filter(|file| !UNSAFE.iter().any(|folder| file.starts_with(folder)));
    let wrong: Vec<String> = checked.filter(|file| !read(file).contains("#![forbid(unsafe_code)]")).collect();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn ci_runs_the_test_command_of_the_readme() {
    let command = "cargo xtask test";
    for file in ["README.md", ".ci/run"] {
        assert!(read(file).contains(command), "{file} does not say `{command}`");
    }
}

/// What a package needs when it is not tested.
fn needed(package: &Package) -> impl Iterator<Item = &str> {
    let wanted = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    wanted.map(|dependency| dependency.name.as_str())
}

fn sources() -> Vec<String> {
    let listed =
        workspace::output(Command::new("git").args(["ls-files", "*.rs"])).expect("git lists the files");
    listed.lines().map(str::to_owned).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(workspace::root().join(file)).unwrap_or_default()
}
