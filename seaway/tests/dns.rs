//! `seaway dns` as a command: the limits that it is started with, and what it needs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// The output of a command that ends by itself.
fn said(corefile: &str, arguments: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("Corefile");
    fs::write(&file, corefile).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaway"));
    let output = command.arg("dns").args(arguments).arg(file).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// A server's first lines up to the one that says where it answers, and the limits of its open files.
fn started_with(hard: u32) -> (String, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let corefile = dir.path().join("Corefile");
    let text = format!(".:{port} {{\nbind 127.0.0.1\nforward . 192.0.2.1 192.0.2.2\n}}\n");
    fs::write(&corefile, text).unwrap();
    let script = format!("ulimit -Sn 64 && ulimit -Hn {hard} && exec \"$0\" dns --corefile \"$1\"");
    let mut server = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_seaway")])
        .arg(&corefile)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    for line in BufReader::new(server.stderr.take().unwrap()).lines() {
        said = said + &line.unwrap() + "\n";
        if said.contains("answering") {
            break;
        }
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    (said, files.unwrap().split_whitespace().take(2).map(str::to_owned).collect())
}

#[test]
fn the_soft_limit_of_open_files_is_raised_and_a_low_hard_one_is_told() {
    let (said, files) = started_with(200);
    assert_eq!(files, ["200", "200"], "{said}");
    assert!(said.contains("may open 200 files") && said.contains("raise its hard limit"), "{said}");
}

#[test]
fn a_server_that_knows_no_cluster_needs_none() {
    let hosts = "example:5399\n{\nhosts {\n192.0.2.7 h.example\nfallthrough\n}\n}\n";
    let found = said(hosts, &["query", "h.example", "--corefile"]);
    assert!(found.contains("answer     h.example. 3600 IN A 192.0.2.7"), "{found}");
    let found = said(hosts, &["query", "other.example", "--corefile"]);
    assert!(found.contains("no plugin of this block answers for the name; `forward` would"), "{found}");
    let cluster = ".:5399 {\nkubernetes cluster.local\n}\n";
    let found = said(cluster, &["query", "a.cluster.local", "--corefile"]);
    assert!(found.contains("give --kubeconfig FILE, or --manifests DIR"), "{found}");
}

#[test]
fn names_of_upstreams_are_not_looked_up_and_so_it_says() {
    let found = said(".:53 {\nforward . dns.example\n}\n", &["check"]);
    assert!(
        found.contains("line 2: forward: \"dns.example\" is no address (names of hosts are not"),
        "{found}"
    );
    let found = said(".:53 {\nwhoami\n}\n", &["check"]);
    assert!(found.contains("whoami     who asks"), "{found}");
}
