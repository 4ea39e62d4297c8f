//! A network namespace without a name, made by one thread and kept by a file descriptor.
//!
//! The thread that made it stays in it until the [`Namespace`] is dropped and starts its child
//! processes. That gives children the namespace without any code between fork and exec, and lets
//! a child ask the kernel to die with that thread (see [`crate::run_worker`]).

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    process::{Child, Command},
    sync::mpsc,
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

use crate::{Error, Process};

/// What every namespace of the lab starts with: addresses usable at once, no filtering of sources,
/// no redirects and no limit on ICMP errors, so that a test sees every refusal.
const SETTINGS: &[(&str, &str)] = &[
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv4/ip_local_port_range", "10000 65000"),
    // Echo requests of both families without raw sockets.
    ("net/ipv4/ping_group_range", "0 0"),
];
const SETTINGS_IPV6: &[(&str, &str)] = &[
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/all/accept_redirects", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
];

/// What limits ICMP errors beside the rate per peer. Older kernels have one limit for all
/// namespaces, which is not the lab's to change.
const SETTINGS_SINCE_6_12: &[(&str, &str)] =
    &[("net/ipv4/icmp_msgs_per_sec", "1000000"), ("net/ipv4/icmp_msgs_burst", "1000000")];

/// A network namespace of this process. It ends with the last process and socket in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
    spawner: mpsc::Sender<SpawnRequest>,
}

#[derive(Debug)]
struct SpawnRequest {
    command: Command,
    reply: mpsc::Sender<io::Result<Child>>,
}

impl Namespace {
    /// Makes a namespace with loopback up and quiet settings. `name` is for messages and threads.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without CAP_SYS_ADMIN or in a kernel without network namespaces.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let (spawner, requests) = mpsc::channel();
        let (made, file) = mpsc::channel();
        thread::Builder::new()
            .name(format!("netns-{name}"))
            .spawn(move || spawn_on_request(&made, &requests))
            .map_err(Error::system(format!("start the thread of namespace {name}")))?;
        let file =
            file.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())).map_err(|source| {
                Error::Unsupported {
                    what: format!("making the network namespace {name}"),
                    advice: "run as root (CAP_SYS_ADMIN) on a kernel with CONFIG_NET_NS".into(),
                    source: Some(source),
                }
            })?;
        let namespace = Self { name, file, spawner };
        namespace.settle()?;
        Ok(namespace)
    }

    /// The name given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` in a thread of its own inside the namespace and returns its result. Sockets
    /// made there stay in the namespace wherever they are used. A panic is passed on.
    ///
    /// # Errors
    /// When the thread cannot be started or cannot enter the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        thread::scope(|scope| {
            let enter = || {
                setns(&self.file, CloneFlags::CLONE_NEWNET)?;
                io::Result::Ok(work())
            };
            let worker = thread::Builder::new()
                .name(format!("in-{}", self.name))
                .spawn_scoped(scope, enter)
                .map_err(Error::system(format!("start a thread for namespace {}", self.name)))?;
            let result = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result.map_err(Error::system(format!("enter namespace {}", self.name)))
        })
    }

    /// Starts a child process inside the namespace.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(&self, command: Command) -> Result<Process, Error> {
        let what = format!("{} in {}", command.get_program().to_string_lossy(), self.name);
        let (reply, child) = mpsc::channel();
        let request = SpawnRequest { command, reply };
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let sent = self.spawner.send(request).map_err(|_| gone());
        let child = sent.and_then(|()| child.recv().map_err(|_| gone())?);
        Ok(Process::new(child.map_err(Error::system(format!("start {what}")))?, what))
    }

    /// Writes a kernel setting of the namespace, for instance `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// When the setting does not exist or refuses the value.
    pub fn set(&self, key: &str, value: &str) -> Result<(), Error> {
        let path = Path::new("/proc/sys").join(key);
        self.run(|| fs::write(path, value))?
            .map_err(Error::system(format!("set {key} to {value} in namespace {}", self.name)))
    }

    /// Writes a kernel setting if this kernel has it.
    ///
    /// # Errors
    /// When it refuses the value.
    pub fn set_if_there(&self, key: &str, value: &str) -> Result<(), Error> {
        if self.run(|| Path::new("/proc/sys").join(key).exists())? { self.set(key, value) } else { Ok(()) }
    }

    /// Lets the namespace forward packets, in both families.
    ///
    /// # Errors
    /// When a setting cannot be written.
    pub fn set_forwarding(&self) -> Result<(), Error> {
        self.set("net/ipv4/ip_forward", "1")?;
        if has_ipv6() { self.set("net/ipv6/conf/all/forwarding", "1") } else { Ok(()) }
    }

    fn settle(&self) -> Result<(), Error> {
        let ipv6: &[_] = if has_ipv6() { SETTINGS_IPV6 } else { &[] };
        for (key, value) in SETTINGS.iter().chain(ipv6) {
            self.set(key, value)?;
        }
        for (key, value) in SETTINGS_SINCE_6_12 {
            self.set_if_there(key, value)?;
        }
        self.set_up("lo")
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The body of the namespace's own thread. `/proc/thread-self` and `/proc/sys/net` follow the
/// thread, not the process.
fn spawn_on_request(made: &mpsc::Sender<io::Result<File>>, requests: &mpsc::Receiver<SpawnRequest>) {
    let entered = unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
    let file = entered.and_then(|()| File::open("/proc/thread-self/ns/net"));
    if made.send(file).is_err() {
        return;
    }
    for SpawnRequest { mut command, reply } in requests {
        // Whoever asked and went away does not want the child: dropping it would leave it running.
        if let Err(mpsc::SendError(Ok(mut child))) = reply.send(command.spawn()) {
            child.kill().and_then(|()| child.wait()).ok();
        }
    }
}

fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}
