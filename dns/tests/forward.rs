//! Forwarders between upstreams that answer as they are told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use seaway_dns::corefile;
use seaway_dns::engine::Engine;
use seaway_dns::name;
use seaway_dns::server::Service;
use tokio::runtime::Runtime;

/// Far more than any answer takes, on however loaded a machine.
const DEADLINE: Duration = Duration::from_secs(20);
const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn query(text: &str) -> Vec<u8> {
    let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&name::parse(text).unwrap());
    message.extend_from_slice(&[0, 1, 0, 1]);
    message
}

/// An answer with a code, and with 192.0.2.1 if that is 0.
fn answer(query: &[u8], rcode: u8) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2] |= 0x80;
    message[3] = rcode;
    if rcode == NOERROR {
        message[7] = 1;
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 1]);
    }
    message
}

/// An upstream over UDP that always answers with a code, and what it was asked.
fn upstream(rcode: u8) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (asked, queries) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let told = asked.send(buffer[..length].to_vec()).is_ok();
            if socket.send_to(&answer(&buffer[..length], rcode), peer).is_err() || !told {
                return;
            }
        }
    });
    (address, queries)
}

/// An upstream over TCP, and how many connections it took. It closes each after so many answers.
fn connections(answers: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                for _ in 0..answers {
                    let mut length = [0; 2];
                    if stream.read_exact(&mut length).is_err() {
                        return;
                    }
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut query).unwrap();
                    let answer = answer(&query, NOERROR);
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length, answer.as_slice()].concat()).unwrap();
                }
            });
        }
    });
    (address, count)
}

fn service(plugins: &str) -> Arc<Service> {
    let blocks = corefile::parse(&format!(".:53 {{\n{plugins}\n}}\n"), Path::new(".")).unwrap();
    Service::new(Engine::new(blocks))
}

/// The response codes of so many queries, one after the other.
fn codes(plugins: &str, count: usize) -> Vec<u8> {
    let service = service(plugins);
    let ask = |number: usize| {
        let (service, query) = (Arc::clone(&service), query(&format!("n{number}.example.")));
        async move { service.answer(&query, 53, "127.0.0.1:1".parse().unwrap()).await.unwrap().0[3] & 15 }
    };
    runtime().block_on(async {
        let mut codes = Vec::new();
        for number in 0..count {
            codes.push(ask(number).await);
        }
        codes
    })
}

#[test]
fn codes_of_failover_lead_to_the_next_upstream() {
    let ((bad, _bad), (good, _good)) = (upstream(SERVFAIL), upstream(NOERROR));
    let plugins =
        |options: &str| format!("forward . {bad} {good} {{\nprefer_udp\npolicy sequential\n{options}\n}}");
    assert_eq!(codes(&plugins(""), 2), [SERVFAIL; 2]);
    assert_eq!(codes(&plugins("failover SERVFAIL"), 2), [NOERROR; 2]);
    assert_eq!(codes(&plugins("failover REFUSED"), 2), [SERVFAIL; 2]);
    assert_eq!(
        codes(&format!("forward . {bad} {{\nprefer_udp\nfailover SERVFAIL\n}}"), 1),
        [SERVFAIL],
        "the last one counts"
    );
}

#[test]
fn codes_of_next_lead_to_the_next_forwarder() {
    let ((bad, _bad), (good, _good)) = (upstream(NXDOMAIN), upstream(NOERROR));
    let second = format!("forward . {good} {{\nprefer_udp\n}}");
    assert_eq!(
        codes(&format!("forward . {bad} {{\nprefer_udp\nnext NXDOMAIN\n}}\n{second}"), 2),
        [NOERROR; 2]
    );
    assert_eq!(
        codes(&format!("forward . {bad} {{\nprefer_udp\nnext SERVFAIL\n}}\n{second}"), 2),
        [NXDOMAIN; 2]
    );
    assert_eq!(
        codes(&format!("forward . {bad} {{\nprefer_udp\nnext NXDOMAIN\n}}"), 1),
        [NXDOMAIN],
        "nobody is next"
    );
}

#[test]
fn answers_without_records_lead_to_the_next_forwarder_where_that_is_asked_for() {
    // The code 0 with the bit AD, and no record.
    let ((first, _first), (second, _second)) = (upstream(0x20), upstream(REFUSED));
    let plugins = |option: &str| {
        format!(
            "forward . {first} {{\nprefer_udp\nnext NXDOMAIN\n{option}\n}}\nforward . {second} {{\nprefer_udp\n}}"
        )
    };
    assert_eq!(codes(&plugins(""), 2), [NOERROR; 2]);
    assert_eq!(codes(&plugins("next_on_nodata"), 2), [REFUSED; 2]);
}

#[test]
fn no_more_upstreams_are_asked_than_max_connect_attempts() {
    let ((bad, _bad), (good, _good)) = (upstream(SERVFAIL), upstream(NOERROR));
    let plugins = |most: usize| {
        let options = "prefer_udp\npolicy sequential\nfailover SERVFAIL";
        format!("forward . {bad} {good} {{\n{options}\nmax_connect_attempts {most}\n}}")
    };
    assert_eq!(codes(&plugins(1), 2), [SERVFAIL; 2]);
    assert_eq!(codes(&plugins(2), 2), [NOERROR; 2]);
}

#[test]
fn names_of_except_are_not_asked_for() {
    let (good, queries) = upstream(NOERROR);
    assert_eq!(
        codes(&format!("forward . {good} {{\nprefer_udp\nexcept n1.example\n}}"), 3),
        [NOERROR, SERVFAIL, NOERROR]
    );
    assert_eq!(queries.try_iter().count(), 2);
}

#[test]
fn policies_order_the_upstreams() {
    let ((one, _one), (two, _two)) = (upstream(NOERROR), upstream(REFUSED));
    let plugins = |policy: &str| format!("forward . {one} {two} {{\nprefer_udp\npolicy {policy}\n}}");
    assert_eq!(codes(&plugins("sequential"), 4), [NOERROR; 4]);
    assert_eq!(codes(&plugins("round_robin"), 4), [NOERROR, REFUSED, NOERROR, REFUSED]);
    let drawn = codes(&plugins("random"), 64);
    assert!(drawn.contains(&NOERROR) && drawn.contains(&REFUSED), "64 draws of two all came out the same");
}

#[test]
fn connections_carry_one_query_after_the_other() {
    let (address, count) = connections(usize::MAX);
    assert_eq!(codes(&format!("forward . {address} {{\nforce_tcp\n}}"), 5), [NOERROR; 5]);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let (address, count) = connections(usize::MAX);
    assert_eq!(codes(&format!("forward . {address} {{\nforce_tcp\nexpire 0s\n}}"), 3), [NOERROR; 3]);
    assert_eq!(count.load(Ordering::SeqCst), 3, "none waits");
}

#[test]
fn a_connection_that_was_closed_while_it_waited_is_no_failure() {
    let (address, count) = connections(2);
    assert_eq!(codes(&format!("forward . {address} {{\nforce_tcp\n}}"), 5), [NOERROR; 5]);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[test]
fn upstreams_that_failed_are_probed_as_told() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = socket.local_addr().unwrap();
    let options = "read_timeout 50ms\nhealth_check 20ms no_rec domain probe.example";
    let service = service(&format!("forward . {address} {{\n{options}\n}}"));
    let runtime = runtime();
    let asking = Arc::clone(&service);
    runtime
        .spawn(async move { asking.answer(&query("a.example."), 53, "127.0.0.1:1".parse().unwrap()).await });
    let mut buffer = [0; 512];
    let probe = loop {
        let length = socket.recv(&mut buffer).expect("a probe");
        if buffer[..length].ends_with(b"\x05probe\x07example\0\0\x02\0\x01") {
            break buffer[..length].to_vec();
        }
    };
    assert_eq!(probe[2] & 1, 0, "recursion is not asked for");
}

/// What the service tells of itself under a name with some labels.
fn told(service: &Service, start: &str) -> Vec<String> {
    let text = service.metrics_text().unwrap();
    text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

async fn ask(service: &Service, name: &str) -> u8 {
    service.answer(&query(name), 53, "127.0.0.1:1".parse().unwrap()).await.unwrap().0[3] & 15
}

/// An address of the loopback interface where nobody listens.
fn nobody() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn upstreams_are_down_after_more_failed_probes_than_max_fails() {
    let (gone, (good, _good)) = (nobody(), upstream(NOERROR));
    let down = |fails_max: u32, options: &str| {
        let service = service(&format!(
            "forward . {gone} {{\nmax_fails {fails_max}\nhealth_check 5ms\nread_timeout 100ms\n{options}\n}}"
        ));
        runtime().block_on(async {
            assert_eq!(ask(&service, "a.example.").await, SERVFAIL);
            let forward = Arc::clone(&service.engine().chains()[0].forward[0]);
            let failed = || {
                let line = told(&service, "coredns_proxy_healthcheck_failures_total").remove(0);
                line.rsplit_once(' ').unwrap().1.parse::<u32>().unwrap()
            };
            let begun = std::time::Instant::now();
            while failed() <= fails_max.max(3) {
                assert!(begun.elapsed() < DEADLINE, "it is not probed");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(ask(&service, "a.example.").await, SERVFAIL);
            let broken = told(&service, "coredns_forward_healthcheck_broken_total").remove(0);
            (forward.upstreams()[0].is_down(fails_max), broken.ends_with(" 1"))
        })
    };
    assert_eq!(down(2, ""), (true, true));
    assert_eq!(down(2, "failfast_all_unhealthy_upstreams"), (true, true));
    assert_eq!(down(0, ""), (false, false), "never");
    // One that is down comes last.
    let plugins = format!(
        "forward . {gone} {good} {{\npolicy sequential\nprefer_udp\nmax_fails 1\nhealth_check 5ms\n}}"
    );
    assert_eq!(codes(&plugins, 3), [NOERROR; 3]);
}

/// An upstream whose answers over UDP are cut and whose answers over TCP are not, and how often it was asked.
fn cutting() -> (SocketAddr, Arc<[AtomicUsize; 2]>) {
    let (address, _) = connections(usize::MAX);
    let socket = UdpSocket::bind(address).unwrap();
    let asked: Arc<[AtomicUsize; 2]> = Arc::default();
    let counts = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            counts[0].fetch_add(1, Ordering::SeqCst);
            let mut cut = buffer[..length].to_vec();
            cut[2] |= 0x82;
            if socket.send_to(&cut, peer).is_err() {
                return;
            }
        }
    });
    (address, asked)
}

#[test]
fn prefer_udp_asks_over_udp_first_and_again_over_tcp_what_is_cut() {
    for (option, datagrams) in [("prefer_udp", 1), ("force_tcp", 0)] {
        let (address, asked) = cutting();
        // The query comes as if over TCP.
        assert_eq!(codes(&format!("forward . {address} {{\n{option}\n}}"), 1), [NOERROR]);
        assert_eq!(asked[0].load(Ordering::SeqCst), datagrams, "{option}");
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_a_cut_one() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            // Its record has less data than it says.
            let whole = answer(&buffer[..length], NOERROR);
            if socket.send_to(&whole[..whole.len() - 2], peer).is_err() {
                return;
            }
        }
    });
    let service = service(&format!("cache\nforward . {address} {{\nprefer_udp\nread_timeout 1s\n}}"));
    let query = query("a.example.");
    let asked = service.answer(&query, 53, "127.0.0.1:1".parse().unwrap());
    let (answer, _) = runtime().block_on(asked).unwrap();
    assert_eq!((answer[2] & 0x02, answer[3] & 15, &answer[6..8]), (0x02, NOERROR, &[0, 0][..]));
}

#[test]
fn an_answer_to_another_question_is_a_format_error_and_is_not_kept() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            buffer[13] ^= 1;
            if socket.send_to(&answer(&buffer[..length], NOERROR), peer).is_err() {
                return;
            }
        }
    });
    let service = service(&format!("cache\nforward . {address} {{\nprefer_udp\n}}"));
    assert_eq!(runtime().block_on(ask(&service, "a.example.")), 1);
    assert_eq!(
        told(&service, "coredns_cache_drops_total"),
        ["coredns_cache_drops_total{server=\"dns://:53\",zones=\".\",view=\"\"} 1"]
    );
}

#[test]
fn upstreams_and_caches_are_counted_with_the_labels_of_coredns() {
    let (good, _good) = upstream(NOERROR);
    let service = service(&format!("cache\nforward . {good} {{\nprefer_udp\n}}"));
    runtime().block_on(async {
        for _ in 0..2 {
            assert_eq!(ask(&service, "a.example.").await, NOERROR);
        }
    });
    let entries = |sort: &str, count: u32| {
        format!("coredns_cache_entries{{server=\"dns://:53\",type=\"{sort}\",zones=\".\",view=\"\"}} {count}")
    };
    assert_eq!(told(&service, "coredns_cache_entries"), [entries("success", 1), entries("denial", 0)]);
    let labels = format!("{{proxy_name=\"forward\",to=\"{good}\",rcode=\"NOERROR\"}} 1");
    let counted = told(&service, "coredns_proxy_request_duration_seconds_count");
    assert_eq!(counted, [format!("coredns_proxy_request_duration_seconds_count{labels}")]);
}

#[test]
fn a_reload_keeps_what_blocks_have_learned_that_did_not_change() {
    let (good, queries) = upstream(NOERROR);
    let block =
        |options: &str| format!(".:53 {{\ncache {options}\nforward . {good} {{\nprefer_udp\n}}\n}}\n");
    let engine = |text: &str| Engine::new(corefile::parse(text, Path::new(".")).unwrap());
    let service = Service::new(engine(&block("")));
    runtime().block_on(async {
        let asked = |service: Arc<Service>| async move { ask(&service, "a.example.").await };
        assert_eq!(asked(Arc::clone(&service)).await, NOERROR);
        let other = "other.example:53 {\nwhoami\n}\n";
        service.replace(engine(&format!("# another line\n{other}{}", block(""))));
        assert_eq!(asked(Arc::clone(&service)).await, NOERROR);
        assert_eq!(queries.try_iter().count(), 1, "the answer was kept");
        service.replace(engine(&block("60")));
        assert_eq!(asked(Arc::clone(&service)).await, NOERROR);
        assert_eq!(queries.try_iter().count(), 1, "the block says something else");
    });
}
