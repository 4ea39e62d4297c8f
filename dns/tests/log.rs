//! What a running server writes about queries.

use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seaway_dns::corefile;
use seaway_dns::engine::Engine;
use seaway_dns::feed::Feed;
use seaway_dns::name;
use seaway_dns::server::{Listener, Server, ServerOptions, Service};

/// Far more than any line takes, on however loaded a machine.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Waits until a text has been written so often.
    fn until(&self, text: &str, count: usize) {
        let begun = Instant::now();
        loop {
            let all = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            if all.matches(text).count() == count {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "not {count} of {text:?} in:\n{all}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn ask(socket: &UdpSocket, text: &str) {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&name::parse(text).unwrap());
    message.extend_from_slice(&[0, 1, 0, 1]);
    socket.send(&message).unwrap();
    socket.recv(&mut [0; 512]).expect("an answer");
}

#[test]
fn queries_are_logged_and_failures_are_summed_up() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    // Nobody listens there any more.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        ".:53 {{\nbind 127.0.0.1\nkubernetes cluster.local\nforward . {nobody}\n\
         log cluster.local \"<{{name}} {{type}} {{rcode}} {{>rflags}} {{proto}}>\" {{\nclass denial\n}}\n\
         errors {{\nconsolidate 300ms many warning\n}}\n}}\n"
    );
    let engine = Engine::new(corefile::parse(&text, Path::new(".")).unwrap());
    Feed::new(&engine).update(&engine, &Arc::default(), 1);
    let place = engine.chains()[0].block.place();
    let listener = Listener { address: "127.0.0.1:0".parse().unwrap(), place };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let entered = runtime.enter();
    let service = Service::new(engine);
    let server = Server::start(&service, &[listener], ServerOptions { threads: 1 }).unwrap();
    drop(entered);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(server.addresses()[0]).unwrap();

    for name in
        ["Gone.cluster.local.", "cluster.local.", "many-1.example.", "many-2.example.", "one.example."]
    {
        ask(&socket, name);
    }
    lines.until("<gone.cluster.local. A NXDOMAIN qr,aa,rd udp>", 1);
    lines.until("<cluster.local. A NOERROR qr,aa,rd udp>", 1);
    lines.until("2 one.example. A: forward: no upstream gave an answer in time", 1);
    lines.until("2 errors like 'many' occurred in last 300ms", 1);
    lines.until("many-1.example.", 0);
    server.stop();
}
