//! Corefiles: what is taken over, and what is refused with which words.

use std::path::Path;
use std::time::Duration;

use seaway_dns::block::Block;
use seaway_dns::cache::{Prefetch, Stale};
use seaway_dns::corefile;
use seaway_dns::forward::Policy;
use seaway_dns::options::PodNames;
use seaway_dns::plugin::errors::Level;
use seaway_dns::plugin::log::{Class, Format};

/// What kubeadm installs, but for its upstreams, which are a file of the machine there.
const STOCK: &str = r"
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

fn parse(text: &str) -> Result<Vec<Block>, String> {
    corefile::parse(text, Path::new(".")).map_err(|error| error.to_string())
}

/// The error of a block whose only lines these are.
fn check(lines: &str, expected: &str) {
    assert_eq!(parse(&format!(".:53 {{\n{lines}\n}}\n")).unwrap_err(), expected, "{lines}");
}

#[test]
fn the_stock_corefile_works_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("resolv.conf"), "search a.example\nnameserver 192.0.2.53\n").unwrap();
    let blocks = corefile::parse(STOCK, dir.path()).unwrap();
    let [block] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    let options = block.kubernetes.as_ref().unwrap();
    assert_eq!((options.ttl_s, options.pods), (30, PodNames::Insecure));
    assert_eq!(options.fallthrough.as_ref().map(Vec::len), Some(2));
    assert_eq!(format!("{:?}", block.forward[0].upstreams), "[192.0.2.53:53]");
    assert_eq!((block.forward[0].concurrent_max, block.forward[0].policy), (1000, Policy::Random));
    let cache = block.cache.as_ref().unwrap();
    assert_eq!((cache.success.max_s, cache.denial.max_s, cache.success.disabled.len()), (30, 30, 1));
    assert_eq!(block.health.unwrap().lameduck.as_secs(), 5);
    assert_eq!((block.ready.unwrap().address.port(), block.prometheus.unwrap().port()), (8181, 9153));
    assert!(block.errors.is_some() && block.reload && block.detect_loop && block.loadbalance);
}

#[test]
fn errors_name_the_line_and_the_plugin() {
    let plugins = "acl, autopath, bind, bufsize, cache, compat, errors, file, forward, health, hosts, k8s_external, kubernetes, \
                   loadbalance, log, loop, minimal, prometheus, ready, reload, rewrite, template, tls, trace, transfer and \
                   whoami";
    check(
        "errors\nfrobnicate",
        &format!("line 3: frobnicate: there is no plugin \"frobnicate\" here (there are {plugins})"),
    );
    check(
        "kubernetes cluster.local {\n upstream\n}",
        "line 3: kubernetes: there is no option \"upstream\" (there are compat, endpoint_pod_names, fallthrough, ignore, \
         labels, multicluster, namespace_labels, namespaces, noendpoints, pods, startup_timeout, terminating_endpoints, \
         ttl and zonal)",
    );
    check(
        "kubernetes cluster.local {\n endpoint http://a\n}",
        "line 3: kubernetes: endpoint: the API server is named on the command line (--kubeconfig), else the pod's is asked",
    );
    check("bind nowhere0", "line 2: bind: \"nowhere0\" is neither an address nor an interface that has one");
    check("bind lo {\nexcept lo\n}", "line 2: bind: it leaves no address to listen on");
    check("reload soon", "line 2: reload: \"soon\" is not a duration such as 5s, 250ms or 1m30s");
    check("import nothing", "line 2: import: ./nothing is neither a snippet above nor a file");
    check("forward . {$NOT_SET_ANYWHERE}", "line 2: the environment has no variable \"NOT_SET_ANYWHERE\"");
    check(
        "kubernetes cluster.local {\n ttl 3601\n}",
        "line 3: kubernetes: \"3601\" is not a number from 0 to 3600",
    );
    check(
        "kubernetes cluster.local {\n pods maybe\n}",
        "line 3: kubernetes: \"maybe\" is none of disabled, insecure and verified",
    );
    check("kubernetes 10.0.0.0/8", "line 2: kubernetes: at least one zone must not be a reverse zone");
    check(
        "forward . grpc://192.0.2.1",
        "line 2: forward: \"grpc://192.0.2.1\": upstreams are asked over dns://, tls://, https:// or quic://",
    );
    check(
        "forward . https://dns.example/dns-query",
        "line 2: forward: \"https://dns.example/dns-query\": \"dns.example\" is not an address",
    );
    check(
        "forward . 192.0.2.1 {\n failover MAYBE\n}",
        "line 3: forward: \"MAYBE\" is not a response code such as SERVFAIL or NXDOMAIN",
    );
    check(
        "forward . 192.0.2.1 {\n health_check 1s domain\n}",
        "line 3: forward: \"domain\" is neither no_rec nor domain with a name",
    );
    check("forward . 192.0.2.1\nforward . 192.0.2.2", "line 3: forward: zone . is forwarded already");
    check("cache {\n prefetch 2 1m 5%\n}", "line 3: cache: \"5\" is not a number from 10 to 90");
    check("tls cert.pem", "line 2: tls: it takes a certificate, its key, and authorities of clients if any");
    check("forward .", "line 2: forward: there are 0 upstreams, not 1 to 15");
    check(
        "cache 30 {\n forget\n}",
        "line 3: cache: there is no option \"forget\" (there are denial, disable, keepttl, prefetch AMOUNT [DURATION] \
         [PERCENT%], serve_stale [DURATION] [immediate|verify [DURATION]], servfail DURATION and success)",
    );
    check(
        "acl {\n permit\n}",
        "line 3: acl: there is no option \"permit\" (there are allow, block, drop and filter)",
    );
    check(
        "rewrite name regex ( x",
        "line 2: rewrite: \"(\" is not a pattern: regex parse error:\n    (\n    ^\nerror: unclosed group",
    );
    check("k8s_external example.com", "line 2: k8s_external: it needs the kubernetes plugin beside it");
    check("transfer", "line 2: transfer: it takes a block with `to` and who may have the zones, or *");
    check("bufsize 100", "line 2: bufsize: \"100\" is not a number from 512 to 4096");
    check("errors\nerrors", "line 3: errors: it is there already in this server block");
    check("errors {", "line 3: a `}` is missing at the end");
}

#[test]
fn options_of_forward_are_taken_over() {
    let text = ".:53 {\nforward . 192.0.2.1 192.0.2.2:5353 {\nexcept a.example\nmax_fails 3\nexpire 20s\npolicy round_robin\n\
                prefer_udp\nmax_concurrent 9\nmax_idle_conns 4\nread_timeout 1s\nhealth_check 250ms no_rec domain b.example\n\
                failover SERVFAIL refused\nnext NXDOMAIN\n}\nforward . 192.0.2.3\n}\n";
    let blocks = parse(text).unwrap();
    let options = &blocks[0].forward[0];
    assert_eq!((options.fails_max, options.expire.as_secs(), options.policy), (3, 20, Policy::RoundRobin));
    assert_eq!((options.prefer_udp, options.concurrent_max, options.idle_max), (true, 9, 4));
    let probe =
        (options.probe.interval.as_millis(), options.probe.recursion, options.probe.domain.to_string());
    assert_eq!(probe, (250, false, "b.example.".to_owned()));
    assert_eq!((options.failover.as_slice(), options.next.as_slice()), (&[2, 5][..], &[3][..]));
    assert_eq!(blocks[0].forward.len(), 2, "`next` leads to another forwarder of the zone");
}

#[test]
fn upstreams_are_written_as_coredns_writes_them() {
    let shown = |word: &str| {
        let blocks = parse(&format!(".:53 {{\nforward . {word}\n}}\n")).unwrap();
        format!("{:?}", blocks[0].forward[0].upstreams)
    };
    assert_eq!(shown("tls://192.0.2.1"), "[tls://192.0.2.1:853 (192.0.2.1)]");
    assert_eq!(shown("tls://192.0.2.1%dns.example"), "[tls://192.0.2.1:853 (dns.example)]");
    assert_eq!(shown("tls://192.0.2.1%dns.example:10853"), "[tls://192.0.2.1:10853 (dns.example)]");
    assert_eq!(shown("tls://192.0.2.1:10853%dns.example"), "[tls://192.0.2.1:10853 (dns.example)]");
    assert_eq!(shown("tls://2001:db8::1%dns.example:10853"), "[tls://[2001:db8::1]:10853 (dns.example)]");
    assert_eq!(shown("https://192.0.2.1%a.example/q"), "[https://192.0.2.1:443/q (a.example)]");
    assert_eq!(shown("https://192.0.2.1/q%a.example"), "[https://192.0.2.1:443/q (a.example)]");
    let both = parse(
        ".:53 {\nforward . 192.0.2.1 {\nforce_tcp\nprefer_udp\nmax_connect_attempts 2\nnext_on_nodata\n}\n}\n",
    );
    let options = &both.unwrap()[0].forward[0];
    assert!(options.force_tcp && options.has_next() && options.attempts_max == 2);
}

#[test]
fn snippets_files_and_the_environment_are_put_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::create_dir(dir.path().join("more")).unwrap();
    write("more/b.override", "import shared\n");
    write("more/a.override", "hosts {\n192.0.2.1 a.example\nfallthrough\n}\n");
    write("more/README", "frobnicate\n");
    write("more/stub.server", "b.example:53 {\nwhoami\n}\n");
    let text = "(shared) {\nforward . 192.0.2.53 {\nprefer_udp\n}\n}\n.:53 {\nimport more/*.override\n\
                import none/*.override\nhealth localhost:{$PORT_OF_HEALTH}\n}\nimport more/*.server\n";
    // A variable that every build of this test has, in the place of a port.
    let text = text.replace("localhost:{$PORT_OF_HEALTH}", "localhost:808{$CARGO_PKG_VERSION_MAJOR}");
    let blocks = corefile::parse(&text, dir.path()).unwrap();
    let [root, stub] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    assert!(root.forward[0].prefer_udp && root.hosts.as_ref().unwrap().len() == 1 && stub.whoami);
    assert_eq!(root.health.unwrap().address.port(), 8080);
    assert!(
        ["more", "more/a.override", "more/b.override", "none"]
            .iter()
            .all(|name| { root.watched.contains(&dir.path().join(name)) })
    );
    write("self", "import self\n");
    let error = corefile::parse(".:53 {\nimport self\n}\n", dir.path()).unwrap_err().to_string();
    assert_eq!(error, "line 2: what is imported is too much, or imports itself");
    write("bad", "errors\nlog \"open\n");
    let error = corefile::parse(".:53 {\nimport bad\n}\n", dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("bad, line 2: a quote is not closed on its line"), "{error}");
}

#[test]
fn interfaces_stand_for_their_addresses() {
    let bound = |lines: &str| parse(&format!(".:53 {{\n{lines}\n}}\n")).unwrap()[0].bind.clone();
    let own = bound("bind lo");
    assert!(own.contains(&"127.0.0.1".parse().unwrap()));
    assert_eq!(
        bound("bind lo 192.0.2.1 {\nexcept lo\n}"),
        ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(bound("bind lo\nbind 127.0.0.1"), own);
    assert!(parse(".:53 {\nreload 10s 5s\n}\n").unwrap()[0].reload);
    let waits = parse(".:53 {\nkubernetes cluster.local {\nstartup_timeout 1s\napiserver_qps 10\n}\n}\n");
    assert_eq!(waits.unwrap()[0].kubernetes.as_ref().unwrap().startup.as_secs(), 1);
}

#[test]
fn options_of_cache_are_taken_over() {
    let stale = |line: &str| {
        let blocks = parse(&format!(".:53 {{\ncache 60 {{\n{line}\n}}\n}}\n")).unwrap();
        let cache = blocks[0].cache.clone().unwrap();
        (cache.stale.as_secs(), cache.stale_when)
    };
    assert_eq!(stale("keepttl"), (3600, Stale::Failing));
    assert_eq!(stale("serve_stale"), (3600, Stale::Immediate));
    assert_eq!(stale("serve_stale 2h"), (7200, Stale::Immediate));
    assert_eq!(stale("serve_stale 2h verify"), (7200, Stale::Failing));
    assert_eq!(stale("serve_stale verify 300ms"), (3600, Stale::After(Duration::from_millis(300))));
    let blocks =
        parse(".:53 {\ncache {\nsuccess 100 60 10\ndenial 50 20\nprefetch 5 30s 20%\nservfail 1s\n}\n}\n")
            .unwrap();
    let cache = blocks[0].cache.as_ref().unwrap();
    assert_eq!((cache.success.capacity, cache.success.max_s, cache.success.min_s), (100, 60, 10));
    assert_eq!((cache.denial.capacity, cache.denial.max_s, cache.failure_s), (50, 20, 1));
    let prefetch = Prefetch { hits: 5, window: Duration::from_secs(30), percent: 20 };
    assert_eq!((cache.prefetch, cache.keep_ttl), (Some(prefetch), false));
}

#[test]
fn logs_are_for_names_formats_and_classes() {
    let log = |line: &str| parse(&format!(".:53 {{\n{line}\n}}\n")).map(|blocks| blocks[0].log.clone());
    let one = log("log").unwrap().remove(0);
    assert_eq!((one.zones.len(), &one.format, one.classes.len()), (0, &Format::default(), 0));
    let one = log("log a.example b.example \"{remote} {name}\" {\nclass denial error\n}").unwrap().remove(0);
    assert_eq!((one.zones.len(), one.classes), (2, vec![Class::Denial, Class::Error]));
    assert_eq!(one.format, Format::parse("{remote} {name}").unwrap());
    assert_eq!(log("log . {combined}\nlog {\nclass all\n}").unwrap().len(), 2);
    check(
        "log . {nothing}",
        "line 2: log: {nothing} stands for nothing (there are {type} {name} {class} {proto} \
         {remote} {port} {local} {size} {rsize} {duration} {rcode} {>bufsize} {>do} {>id} {>opcode} {>rflags} {common} \
         {combined})",
    );
    check("log {\nclass some\n}", "line 3: log: \"some\" is none of all, denial, error and success");
    let errors =
        "errors {\nstacktrace\nconsolidate 5m \"in time$\" warning show_first\nconsolidate 30s .*\n}";
    let errors = parse(&format!(".:53 {{\n{errors}\n}}\n")).unwrap()[0].errors.clone().unwrap();
    let bursts = errors.bursts.iter().map(|burst| (burst.period.as_secs(), burst.level, burst.show_first));
    assert!(errors.stacktrace && bursts.eq([(300, Level::Warning, true), (30, Level::Error, false)]));
    check(
        "errors {\nconsolidate 5m x loud\n}",
        "line 3: errors: \"loud\" is none of debug, error, info and warning",
    );
    check(
        "errors {\nconsolidate 5m\n}",
        "line 3: errors: consolidate takes a duration, a pattern, and a level if any",
    );
}

#[test]
fn blocks_are_told_apart_by_zone_and_port() {
    let blocks = parse("cluster.local example.org:5353 {\n errors\n}\n10.0.0.0/8 {\n log\n}\n").unwrap();
    let places: Vec<(String, u16)> =
        blocks.iter().map(|block| (block.zones[0].to_string(), block.port)).collect();
    let expected = [("cluster.local.", 53), ("example.org.", 5353), ("10.in-addr.arpa.", 53)];
    assert_eq!(places, expected.map(|(zone, port)| (zone.to_owned(), port)));
    assert_eq!(
        parse("a.example {\n errors\n}\nA.example {\n log\n}\n").unwrap_err(),
        "line 4: zone a.example. is served on port 53 already"
    );
    assert_eq!(parse("# nothing\n").unwrap_err(), "line 1: there is no server block");
    assert_eq!(parse("}\n").unwrap_err(), "line 1: there is a `}` too many");
}
