//! An agent under test, with its folders, its cgroup and its pins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, ExitStatus},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use seaway_lab::{AgentOptions, AgentStatus, Cgroup, Launcher, Namespace, bpffs, sweep};
use tempfile::TempDir;

use crate::{ApiServer, launcher};

/// Long enough for a loaded machine; a test that reaches it has failed anyway.
const PATIENCE: Duration = Duration::from_secs(30);
const PINS: &str = "seaway-test-";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What an agent works with. It outlives the agents started from it, so that a restart finds
/// manifests and pins as they were; on drop all of it goes away, attached programs included.
#[derive(Debug)]
pub struct AgentSetup {
    options: AgentOptions,
    cgroup: Cgroup,
    _folder: TempDir,
}

/// A running agent. It is killed on drop, which leaves its programs in place for a next one.
#[derive(Debug)]
pub struct Agent {
    inner: seaway_lab::Agent,
}

impl AgentSetup {
    /// An empty manifest folder, a child cgroup and a place for pins; the agent will attach to
    /// `interfaces`.
    ///
    /// # Panics
    /// When the folders or the cgroup cannot be made.
    #[must_use]
    pub fn new<S: Into<String>>(interfaces: impl IntoIterator<Item = S>) -> Self {
        sweep(&bpffs(), PINS, |path| fs::remove_dir_all(path));
        let folder = TempDir::with_prefix("seaway-test-").expect("a temporary folder");
        let [manifests, run_dir] = ["manifests", "run"].map(|name| folder.path().join(name));
        for path in [&manifests, &run_dir] {
            fs::create_dir(path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        }
        let cgroup = Cgroup::new("test").unwrap_or_else(|error| panic!("{error}"));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let options = AgentOptions {
            manifests,
            kubeconfig: None,
            interfaces: interfaces.into_iter().map(Into::into).collect(),
            cgroup: cgroup.path().to_owned(),
            pin_dir: bpffs().join(format!("{PINS}{}-{count}", process::id())),
            run_dir,
            arguments: Vec::new(),
        };
        Self { options, cgroup, _folder: folder }
    }

    /// Adds flags of `seaway agent`.
    #[must_use]
    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.options.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Lets agents follow an API server instead of the folder.
    ///
    /// # Panics
    /// When the kubeconfig cannot be written.
    pub fn follow(&mut self, server: &ApiServer) {
        let file = self.options.run_dir.with_file_name("kubeconfig");
        server.write_kubeconfig(&file, None);
        self.options.kubeconfig = Some(file);
    }

    /// Writes a manifest for an agent that is not running yet.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.options.manifests.join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Starts an agent in `namespace` and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; the message has the end of its log.
    #[must_use]
    pub fn start(&self, namespace: &Namespace) -> Agent {
        let mut agent = self.start_unready(namespace);
        agent.inner.wait_ready(PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        agent
    }

    /// Starts an agent in `namespace`; it may never become ready.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_unready(&self, namespace: &Namespace) -> Agent {
        self.launch(namespace, &launcher())
    }

    /// As [`start_unready`](Self::start_unready), by another build of the program.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_program(&self, namespace: &Namespace, program: &Path) -> Agent {
        self.launch(namespace, &Launcher::new(program, ["worker"]))
    }

    fn launch(&self, namespace: &Namespace, launcher: &Launcher) -> Agent {
        let started = seaway_lab::Agent::start(namespace, launcher, self.options.clone());
        Agent { inner: started.unwrap_or_else(|error| panic!("{error}")) }
    }

    /// The cgroup whose sockets the agent translates.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        self.cgroup.path()
    }

    /// Where the agent pins maps and links.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        &self.options.pin_dir
    }

    /// Where the agent writes its status.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.options.run_dir.clone()
    }
}

impl Drop for AgentSetup {
    fn drop(&mut self) {
        // Links go with their pins. A test that never started an agent has none.
        fs::remove_dir_all(&self.options.pin_dir).ok();
    }
}

impl Agent {
    /// Writes a manifest and waits until the change it makes is in force.
    ///
    /// # Panics
    /// When that does not happen; the message has the end of the agent's log.
    pub fn apply(&mut self, name: &str, text: &str) -> AgentStatus {
        self.inner.apply(name, text, PATIENCE).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Writes a manifest and returns at once.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        self.inner.write_manifest(name, text).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until the agent's status satisfies `condition`.
    ///
    /// # Panics
    /// When that does not happen; the message has the end of the agent's log.
    pub fn wait(&mut self, what: &str, condition: impl Fn(&AgentStatus) -> bool) -> AgentStatus {
        self.inner.wait(what, PATIENCE, condition).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The agent's last status.
    ///
    /// # Panics
    /// When the agent is gone; the message has the end of its log.
    pub fn status(&mut self) -> AgentStatus {
        let status = self.inner.status().unwrap_or_else(|error| panic!("{error}"));
        status.expect("an agent that was ready has a status")
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Ends the agent with SIGTERM and returns how it ended.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn terminate(mut self) -> ExitStatus {
        self.inner
            .terminate(PATIENCE)
            .unwrap_or_else(|error| panic!("{error}; its log:\n{}", self.inner.log()))
    }

    /// Ends the agent with SIGKILL, as a crash would.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(mut self) {
        self.inner.kill().unwrap_or_else(|error| panic!("{error}"));
    }

    /// What the agent wrote to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        self.inner.log()
    }
}
