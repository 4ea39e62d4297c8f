//! Answers against what CoreDNS was seen to give, suite by suite.
//!
//! `SEAWAY_DNS_CASES` names another folder of suites. Every suite runs three times: inside the
//! process, and over UDP and TCP on the loopback interface.

mod vectors {
    pub(crate) mod compare;
    pub(crate) mod differences;
    pub(crate) mod memory;
    pub(crate) mod network;
    pub(crate) mod suite;
    pub(crate) mod wire;
}

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use vectors::memory::Memory;
use vectors::network::Network;
use vectors::suite::{Case, Suite};
use vectors::{compare, differences, suite, wire};

/// How queries reach the server.
trait Server {
    /// Asks over TCP or UDP, or, if that does not matter, as this server is asked.
    /// A transfer is several messages; no message is silence. `client` is who asks.
    fn ask(&mut self, query: &[u8], tcp: Option<bool>, client: Option<IpAddr>) -> Vec<Vec<u8>>;
}

#[test]
fn answers_are_those_of_coredns_but_for_the_listed_differences() {
    let dir = std::env::var_os("SEAWAY_DNS_CASES").map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"));
    let suites = suite::load(&dir);
    assert!(!suites.is_empty(), "{} holds no suite", dir.display());
    let mut wrong = Vec::new();
    for suite in &suites {
        run(suite, "in the process", Memory::new(suite), differences::of, &mut wrong);
        if suite.config.needs_address(&suite.cases) {
            println!("{}: in the process only, since clients need addresses", suite.name);
            continue;
        }
        run(suite, "over UDP", Network::new(suite, false), differences::of, &mut wrong);
        run(suite, "over TCP", Network::new(suite, true), differences::of, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn with_compat_answers_are_those_of_coredns() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut suites = suite::load(&dir);
    suites.retain(|suite| suite.name.contains("observed"));
    let mut wrong = Vec::new();
    for suite in &mut suites {
        suite.config.compat = true;
        run(suite, "with compat", Memory::new(suite), differences::of_all, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs a suite, prints how many cases passed, and adds those that are wrong.
fn run<S: Server>(
    suite: &Suite,
    how: &str,
    server: Result<S, String>,
    difference: fn(&str) -> Option<&'static str>,
    wrong: &mut Vec<String>,
) {
    let mut server = match server {
        Ok(server) => server,
        Err(problem) => {
            println!("{}: 0 of {} cases passed {how}: {problem}", suite.name, suite.cases.len());
            wrong.push(format!("{} {how}: {problem}", suite.name));
            return;
        }
    };
    let (mut same, mut listed) = (0, BTreeSet::new());
    for case in &suite.cases {
        let problem = match case {
            Case::Names(case) => {
                let mut ask = |query: &[u8]| server.ask(query, None, case.client_ip);
                let answers = ask(&wire::query(&case.qname, &case.qtype));
                // Additional records that a small answer has no room for are seen with more room.
                let small = answers.len() == 1 && case.tc != Some(true);
                match compare::problem(case, &answers) {
                    Some(_) if small => {
                        compare::problem(case, &ask(&wire::roomy_query(&case.qname, &case.qtype)))
                    }
                    problem => problem,
                }
            }
            Case::Wire(case) => {
                let answers = server.ask(&case.request(), Some(case.is_tcp()), None);
                wire::problem(case, answers.first().map(Vec::as_slice))
            }
        };
        let (id, difference) = (case.id(), difference(case.id()));
        match (problem, difference) {
            (None, None) => same += 1,
            (Some(_), Some(section)) => {
                listed.insert(section);
                same += 1;
            }
            (Some(problem), None) => wrong.push(format!("{} {id} {how}: {problem}", suite.name)),
            (None, Some(section)) => {
                wrong.push(format!(
                    "{} {id} {how}: is listed as different ({section}), but is not",
                    suite.name
                ));
            }
        }
    }
    let listed: Vec<_> = listed.into_iter().collect();
    println!(
        "{}: {same} of {} cases passed {how}{}{}",
        suite.name,
        suite.cases.len(),
        if listed.is_empty() { "" } else { "; better by intent: " },
        listed.join(", ")
    );
}
