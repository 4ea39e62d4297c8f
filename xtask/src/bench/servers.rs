//! The servers that are compared: Seaway, and those that Debian has and that are installed here.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::dataset::ZONE;

const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// A link to Seaway's program in the folder that servers work in.
pub(super) const PROGRAM: &str = "seaway";
/// The core that servers run on; clients have another.
const SERVER_CORE: &str = "0";

/// A running server; it is killed on drop.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    child: Child,
}

/// A server that could be started.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// The Debian package that has it.
    pub(super) package: &'static str,
    port: u16,
    command: fn(&Path, u16) -> Result<Command>,
}

/// All of them, Seaway first.
pub(super) const KINDS: [Kind; 4] = [
    Kind { name: "seaway", package: "", port: 5401, command: seaway },
    Kind { name: "nsd", package: "nsd", port: 5402, command: nsd },
    Kind { name: "knot", package: "knot", port: 5403, command: knot },
    Kind { name: "unbound", package: "unbound", port: 5404, command: unbound },
];

impl Kind {
    /// Starts it and waits until it answers; `None` if it is not installed.
    pub(super) fn start(&self, dir: &Path) -> Result<Option<Server>> {
        let command = (self.command)(dir, self.port)?;
        let program = PathBuf::from(command.get_program());
        if !program.is_file() {
            return Ok(None);
        }
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", SERVER_CORE]).arg(&program).args(command.get_args());
        let log =
            fs::File::create(dir.join(format!("{}.log", self.name))).context("cannot make a log file")?;
        let errors = log.try_clone().context("cannot share a log file")?;
        pinned.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = pinned.spawn().context("cannot start taskset (package util-linux)")?;
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut server = Server { name: self.name, address, child };
        server.wait(dir)?;
        Ok(Some(server))
    }
}

impl Server {
    fn wait(&mut self, dir: &Path) -> Result<()> {
        let begun = Instant::now();
        let socket = UdpSocket::bind("127.0.0.1:0").context("cannot open a socket")?;
        socket.set_read_timeout(Some(Duration::from_millis(100))).context("cannot set a timeout")?;
        let query =
            b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x05svc-9\x05bench\x03svc\x07cluster\x05local\0\0\x01\0\x01";
        loop {
            let ended = self.child.try_wait().context("cannot look after a server")?;
            if ended.is_some() || begun.elapsed() > STARTS_WITHIN {
                let log = fs::read_to_string(dir.join(format!("{}.log", self.name))).unwrap_or_default();
                bail!("{} does not answer; its log:\n{log}", self.name);
            }
            socket.send_to(query, self.address).context("cannot ask")?;
            let mut answer = [0; 512];
            // Code 0 and one answer: it has read everything.
            if socket
                .recv(&mut answer)
                .is_ok_and(|length| length > 12 && answer[3] & 15 == 0 && answer[7] == 1)
            {
                return Ok(());
            }
        }
    }

    /// How long it has been on a processor, with the processes that it started.
    pub(super) fn processor_time(&self) -> Duration {
        let mut processes = vec![self.child.id().to_string()];
        let mut total = Duration::ZERO;
        while let Some(process) = processes.pop() {
            let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for thread in threads.flatten() {
                let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
                // Nanoseconds on a processor, waiting for one, and how often it was given one.
                let spent = read("schedstat").split_whitespace().next().and_then(|word| word.parse().ok());
                total += Duration::from_nanos(spent.unwrap_or_default());
                processes.extend(read("children").split_whitespace().map(str::to_owned));
            }
        }
        total
    }

    /// The resident memory of the process, in megabytes.
    pub(super) fn resident_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kb.unwrap_or_default() * 1024.0 / 1_000_000.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn seaway(dir: &Path, port: u16) -> Result<Command> {
    let text = format!(
        ".:{port} {{\n    bind 127.0.0.1\n    errors\n    kubernetes {ZONE} in-addr.arpa {{\n        ttl 30\n    }}\n    \
         prometheus 127.0.0.1:{}\n    loadbalance\n}}\n",
        port + 100
    );
    let corefile = write(dir, "Corefile", &text)?;
    let mut command = Command::new(dir.join(PROGRAM));
    command
        .args(["dns", "--threads", "1", "--corefile"])
        .arg(corefile)
        .arg("--manifests")
        .arg(dir.join("manifests"));
    Ok(command)
}

fn nsd(dir: &Path, port: u16) -> Result<Command> {
    let at = dir.display();
    let text = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{at}\"\n  \
         pidfile: \"{at}/nsd.pid\"\n  database: \"\"\n  xfrdfile: \"{at}/xfrd.state\"\n  zonelistfile: \"{at}/zone.list\"\n  \
         minimal-responses: yes\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\nzone:\n  name: {ZONE}\n  zonefile: zone\n"
    );
    let mut command = Command::new("/usr/sbin/nsd");
    command.args(["-d", "-c"]).arg(write(dir, "nsd.conf", &text)?);
    Ok(command)
}

fn knot(dir: &Path, port: u16) -> Result<Command> {
    let at = dir.display();
    let text = format!(
        "server:\n  rundir: {at}\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: {at}\nzone:\n- domain: {ZONE}\n  storage: {at}\n  file: zone\n  zonefile-sync: -1\n  \
         journal-content: none\n"
    );
    let mut command = Command::new("/usr/sbin/knotd");
    command.arg("-c").arg(write(dir, "knot.conf", &text)?);
    Ok(command)
}

fn unbound(dir: &Path, port: u16) -> Result<Command> {
    let at = dir.display();
    let text = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  num-threads: 1\n  username: \"\"\n  chroot: \"\"\n  directory: \"{at}\"\n  \
         pidfile: \"{at}/unbound.pid\"\n  do-daemonize: no\n  use-syslog: no\n  minimal-responses: yes\n  module-config: \"iterator\"\n\
         remote-control:\n  control-enable: no\nauth-zone:\n  name: {ZONE}\n  zonefile: \"{at}/zone\"\n  for-downstream: yes\n  \
         for-upstream: no\n"
    );
    let mut command = Command::new("/usr/sbin/unbound");
    command.args(["-d", "-c"]).arg(write(dir, "unbound.conf", &text)?);
    Ok(command)
}
