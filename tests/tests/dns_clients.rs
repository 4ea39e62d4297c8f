//! Resolvers that people have, asking `seaway dns` as a pod asks: three search domains and `ndots:5`.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Read;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use seaway_harness::{privileged, seaway_binary, skip, test_name, wait_for};
use seaway_lab::{Namespace, Process};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const COREFILE: &str = "\
.:53 {
    bind 127.0.0.1
    kubernetes cluster.local in-addr.arpa {
        pods insecure
        ttl 30
        fallthrough in-addr.arpa
    }
    hosts {
        192.0.2.80 www.example.org
        fallthrough
    }
    loadbalance
}
tls://. https://. {
    bind 127.0.0.1
    kubernetes cluster.local
    tls cert key
}
";
const MANIFESTS: &str = "\
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.80, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: both}, spec: {clusterIP: 10.96.0.81, clusterIPs: [10.96.0.81, 'fd00::81'],
  ipFamilies: [IPv4, IPv6], ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: db-1, labels: {kubernetes.io/service-name: db}},
  addressType: IPv4, ports: [{name: sql, port: 5432}],
  endpoints: [{addresses: [10.1.0.1], hostname: db-0}, {addresses: [10.1.0.2], hostname: db-1}]}
";
const RESOLV_CONF: &str = "\
nameserver 127.0.0.1
search default.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
";
/// What musl's resolver finds: the addresses of its argument, in order.
const MUSL_CLIENT: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (argc < 2 || getaddrinfo(argv[1], 0, &hints, &found)) return 2;
    for (; found; found = found->ai_next) {
        char text[64];
        void *address = found->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr
                                                    : (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr;
        puts(inet_ntop(found->ai_family, address, text, sizeof text));
    }
    return 0;
}
"#;

/// A server at the address of a pod's `resolv.conf`, in a network of its own.
struct Site {
    namespace: Namespace,
    dir: TempDir,
    _server: Process,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(dir.path().join(file), text).unwrap();
        fs::create_dir(dir.path().join("manifests")).unwrap();
        write("manifests/all.yaml", MANIFESTS);
        write("Corefile", COREFILE);
        write("resolv.conf", RESOLV_CONF);
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["dns.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        write("cert", &certificate.pem());
        write("key", &key.serialize_pem());
        let namespace = Namespace::new("dns").unwrap();
        let mut command = Command::new(seaway_binary());
        command.args(["dns", "--threads", "1", "--corefile"]).arg(dir.path().join("Corefile"));
        command.arg("--manifests").arg(dir.path().join("manifests")).stderr(Stdio::null());
        let server = namespace.spawn(command).unwrap();
        let site = Self { namespace, dir, _server: server };
        wait_for("the server", PATIENCE, || site.namespace.run(answers).unwrap());
        site
    }

    /// Runs a program with the pod's `resolv.conf`; what it prints, line by line and sorted, or its code.
    fn run(&self, program: &Path, arguments: &[&str]) -> Result<Vec<String>, i32> {
        let resolv_conf = self.dir.path().join("resolv.conf");
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(resolv_conf).arg(program).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = self.namespace.spawn(command).unwrap();
        let mut text = String::new();
        process.stdout().unwrap().read_to_string(&mut text).unwrap();
        let mut ended = None;
        wait_for("the client", PATIENCE, || {
            ended = process.try_wait().unwrap();
            ended.is_some()
        });
        match ended.unwrap().code() {
            Some(0) => {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort();
                Ok(lines)
            }
            code => Err(code.unwrap_or(-1)),
        }
    }
}

/// Whether the server answers yet.
fn answers() -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03web\x07default\x03svc\x07cluster\x05local\0\0\x01\0\x01";
    let asked = socket.send_to(query, "127.0.0.1:53").is_ok();
    let mut answer = [0; 512];
    asked && socket.recv(&mut answer).is_ok_and(|length| length > 12 && answer[7] == 1)
}

/// A program of a package that not every machine has.
fn installed(test: &str, program: &str) -> Option<std::path::PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.is_file());
    if found.is_none() {
        skip(test, &format!("{program} is not installed"));
    }
    found
}

const FOUND: [(&str, &[&str]); 7] = [
    ("web", &["10.96.0.80"]),
    ("web.default", &["10.96.0.80"]),
    ("web.default.svc", &["10.96.0.80"]),
    ("web.default.svc.cluster.local", &["10.96.0.80"]),
    ("db", &["10.1.0.1", "10.1.0.2"]),
    ("db-1.db", &["10.1.0.2"]),
    // Three names that do not exist come before it.
    ("www.example.org", &["192.0.2.80"]),
];

#[test]
fn glibc_resolves_as_pods_do() {
    privileged!();
    let site = Site::new();
    let check = |name: &str, expected: Result<Vec<String>, i32>| {
        let found = site.run(Path::new("getent"), &["ahosts", name]);
        let addresses = found.map(|lines| {
            let words = lines.iter().filter(|line| line.contains("STREAM"));
            words.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect::<Vec<_>>()
        });
        assert_eq!(addresses, expected, "{name}");
    };
    for (name, addresses) in FOUND {
        check(name, Ok(addresses.iter().map(|address| (*address).to_owned()).collect()));
    }
    check("both", Ok(vec!["10.96.0.81".to_owned(), "fd00::81".to_owned()]));
    check("nothing", Err(2));
    check("nothing.example.org", Err(2));
    let back = site.run(Path::new("getent"), &["hosts", "10.96.0.80"]).unwrap();
    assert!(back[0].ends_with("web.default.svc.cluster.local"), "{back:?}");
}

#[test]
fn musl_resolves_as_pods_do() {
    privileged!();
    let Some(compiler) = installed(&test_name(module_path!()), "musl-gcc") else { return };
    let site = Site::new();
    let (source, client) = (site.dir.path().join("client.c"), site.dir.path().join("client"));
    fs::write(&source, MUSL_CLIENT).unwrap();
    let built = Command::new(compiler).args(["-static", "-o"]).arg(&client).arg(&source).status().unwrap();
    assert!(built.success());
    for (name, addresses) in FOUND {
        let expected = addresses.iter().map(|address| (*address).to_owned()).collect();
        assert_eq!(site.run(&client, &[name]), Ok(expected), "{name}");
    }
    assert_eq!(site.run(&client, &["both"]), Ok(vec!["10.96.0.81".to_owned(), "fd00::81".to_owned()]));
    assert_eq!(site.run(&client, &["nothing"]), Err(2));
}

#[test]
fn kdig_asks_over_every_transport() {
    privileged!();
    let Some(kdig) = installed(&test_name(module_path!()), "kdig") else { return };
    let site = Site::new();
    let name = "web.default.svc.cluster.local";
    for transport in ["+notcp", "+tcp", "+tls", "+https"] {
        let found = site.run(&kdig, &["@127.0.0.1", transport, "+short", name, "A"]);
        assert_eq!(found, Ok(vec!["10.96.0.80".to_owned()]), "{transport}");
    }
    let found = site.run(&kdig, &["@127.0.0.1", "+short", "_sql._tcp.db.default.svc.cluster.local", "SRV"]);
    let targets = [0, 1].map(|number| format!("0 50 5432 db-{number}.db.default.svc.cluster.local."));
    assert_eq!(found, Ok(targets.to_vec()));
}

#[test]
fn dig_searches_as_pods_do() {
    privileged!();
    let Some(dig) = installed(&test_name(module_path!()), "dig") else { return };
    let site = Site::new();
    assert_eq!(site.run(&dig, &["+search", "+short", "web"]), Ok(vec!["10.96.0.80".to_owned()]));
    assert_eq!(site.run(&dig, &["+tcp", "+search", "+short", "db.default"]).map(|found| found.len()), Ok(2));
    let back = site.run(&dig, &["+short", "-x", "10.1.0.2"]);
    assert_eq!(back, Ok(vec!["db-1.db.default.svc.cluster.local.".to_owned()]));
}
