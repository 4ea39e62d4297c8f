//! `seaway apf` as users run it.

#[path = "apf/certificates.rs"]
mod certificates;
#[path = "apf/proxy.rs"]
mod proxy;

use certificates::{certificates, get_tls};
use proxy::{DEADLINE, get, serve, until, upstream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/apf/flood").join(path)
}

fn seaway(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seaway")).arg("apf").args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn explain_names_schema_level_flow_hand_and_seats() {
    let account = ["--user", "system:serviceaccount:shop:a", "--group", "system:serviceaccounts"];
    let text = stdout(&seaway(&[&["explain"], &account[..], &["GET /api/v1/pods?limit=500"]].concat()));
    for part in ["list pods", "service-accounts", "workload-low", "245 nominal", "101 45 14 70 75 66"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let json = stdout(&seaway(&["explain", "-o", "json", "--user", "bob", "/healthz/etcd"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["schema"], &json["exempt"]), (&"probes".into(), &true.into()));
}

#[test]
fn simulate_shows_what_fair_queues_do_for_mice_beside_a_flood() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let (load, fair, single) = (example("load.yaml"), example("fair"), example("single-queue"));
    let output = seaway(&[
        "simulate",
        load.to_str().unwrap(),
        "--config",
        fair.to_str().unwrap(),
        "--compare",
        single.to_str().unwrap(),
        "--server-seats=20",
        "-o=json",
        "--plot",
        plot.to_str().unwrap(),
    ]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(output.stderr.is_empty(), "no progress bar in a pipe");
    let wait = |run: usize| json["runs"][run]["lightWaitP99Ms"].as_f64().unwrap();
    assert!(wait(0) < 200.0, "mice wait {} ms beside the flood", wait(0));
    assert!(wait(1) > 1_000.0, "mice wait {} ms in a single queue", wait(1));
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("mouse-9"));
}

#[test]
fn simulate_replays_logs_with_the_old_limits() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let line = |second: u32, user: &str| {
        format!(
            "{{\"stage\":\"ResponseComplete\",\"requestURI\":\"/api/v1/pods\",\"verb\":\"list\",\
             \"user\":{{\"username\":\"{user}\"}},\"requestReceivedTimestamp\":\"2026-01-02T03:04:{second:02}.000000Z\",\
             \"stageTimestamp\":\"2026-01-02T03:05:00.500000Z\"}}\n"
        )
    };
    std::fs::write(&log, line(1, "a") + &line(2, "b") + &line(3, "c")).unwrap();
    let log = log.to_str().unwrap();
    let text = stdout(&seaway(&["simulate", log, "--limiter=max-in-flight", "--max-requests-inflight=2"]));
    let row =
        |user: &str| text.lines().find(|line| line.starts_with(user)).unwrap().split_whitespace().nth(4);
    assert_eq!([row("a"), row("b"), row("c")], [Some("0"), Some("0"), Some("1")], "{text}");
}

#[test]
fn errors_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.yaml"), "{apiVersion: v1, kind: Pod}").unwrap();
    let output = seaway(&["explain", "--config", folder.path().to_str().unwrap(), "/version"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("x.yaml: document 1: apiVersion \"v1\" of kind \"Pod\""), "{message}");
    assert_eq!(seaway(&["explain"]).status.code(), Some(2));
}

#[test]
fn serve_limits_shows_and_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("level.yaml");
    let objects = |name: &str| {
        std::fs::read_to_string(example("fair/tenants.yaml"))
            .unwrap()
            .replace("name: tenants", &format!("name: {name}"))
            .replacen(&format!("name: {name}\n    resourceRules"), "name: '*'\n    resourceRules", 1)
            .replace("queues: 64", "queues: 2")
            .replace("handSize: 6", "handSize: 1")
            .replace("queueLengthLimit: 50", "queueLengthLimit: 1")
    };
    std::fs::write(&file, objects("first")).unwrap();
    let upstream = upstream(Duration::from_millis(500));
    let (_proxy, listen, admin, logged) = serve(&["--config", folder.path().to_str().unwrap()], upstream);
    let calls: Vec<_> =
        (0..8).map(|_| std::thread::spawn(move || get(listen, "/api/v1/namespaces/a/pods/p"))).collect();
    let replies: Vec<String> = calls.into_iter().map(|call| call.join().unwrap()).collect();
    let with = |status: &str| replies.iter().filter(|reply| reply.starts_with(status)).count();
    // Two seats and a queue of one; who comes when is up to the machine, so more may be served in turn.
    assert!(with("HTTP/1.1 200") >= 3, "{replies:?}");
    assert_eq!(with("HTTP/1.1 200") + with("HTTP/1.1 429"), 8, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.to_lowercase().contains("x-kubernetes-pf-flowschema-uid")));

    let metrics = get(admin, "/metrics");
    assert!(
        metrics.contains("dispatched_requests_total{flow_schema=\"first\",priority_level=\"first\"}"),
        "{metrics}"
    );
    let levels = get(admin, "/debug/api_priority_and_fairness/dump_priority_levels");
    assert!(levels.contains("PriorityLevelName, ActiveQueues, IsIdle"), "{levels}");

    std::fs::write(&file, "kind: [").unwrap();
    std::fs::write(folder.path().join("second.yaml"), objects("second")).unwrap();
    // The broken file keeps all of the folder out.
    loop {
        let line = logged.recv_timeout(DEADLINE).unwrap();
        if line.contains("keeping the previous one") {
            break;
        }
    }
    assert!(!get(admin, "/metrics").contains("priority_level=\"second\""));
    std::fs::write(&file, objects("first")).unwrap();
    until("the second level", || {
        get(admin, "/metrics").contains("nominal_limit_seats{priority_level=\"second\"}")
    });
}

#[test]
fn serve_can_limit_the_old_way() {
    let upstream = upstream(Duration::from_millis(1_000));
    let (_proxy, listen, ..) = serve(&["--limiter=max-in-flight", "--max-requests-inflight=1"], upstream);
    let first = std::thread::spawn(move || get(listen, "/api/v1/pods"));
    until("a refusal", || get(listen, "/api/v1/pods").starts_with("HTTP/1.1 429") || first.is_finished());
    assert!(first.join().unwrap().starts_with("HTTP/1.1"));
}

#[test]
fn serve_knows_clients_by_their_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (authority, server, client) = certificates();
    std::fs::write(path("ca.pem"), &authority).unwrap();
    std::fs::write(path("cert.pem"), &server.0).unwrap();
    std::fs::write(path("key.pem"), &server.1).unwrap();
    let upstream = upstream(Duration::ZERO);
    let flags = [
        format!("--tls-cert={}", path("cert.pem")),
        format!("--tls-key={}", path("key.pem")),
        format!("--client-ca={}", path("ca.pem")),
    ];
    let (_proxy, listen, admin, _log) = serve(&flags.each_ref().map(String::as_str), upstream);
    let reply = get_tls(listen, &authority, &client);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    // The certificate's organization is system:nodes; the header names somebody else.
    let metrics = get(admin, "/metrics");
    let row = "dispatched_requests_total{flow_schema=\"system-node-high\",priority_level=\"node-high\"} 1";
    assert!(metrics.contains(row), "{metrics}");
}
