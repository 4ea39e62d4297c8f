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
