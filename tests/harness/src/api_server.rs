//! An API server for tests: list and watch over real HTTP, and whatever can go wrong with them.
//!
//! It keeps objects as JSON, gives each change the next resource version, and remembers changes
//! until it is told to forget them, as etcd does when it is compacted. Selectors, pages, streamed
//! lists, bookmarks and 410 Gone are those of the real server; everything else it does not have.

mod answer;
mod objects;
mod request;
mod selector;

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, thread};

use serde_json::Value;

use objects::Objects;

/// A running server; on drop it ends all connections and takes no more.
#[derive(Debug)]
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct ApiBehaviour {
    /// It streams lists (Kubernetes 1.32 and newer).
    pub streaming: bool,
    /// Objects of a page, whatever the client asks for.
    pub page_max: usize,
    /// A watch without changes sends a bookmark this often.
    pub bookmark_every: Duration,
    /// The bearer token it wants to see.
    pub token: Option<String>,
}

/// Something that goes wrong once, in the next answer about a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiFault {
    /// The request is answered with this status.
    Status(u16),
    /// The list or watch ends in the middle of its text, as if the connection had broken.
    Truncated,
    /// The watch sends a line that is no JSON.
    Garbage,
    /// The watch ends with an error event of this status.
    Event(u16),
    /// The connection stays open and nothing is sent any more.
    Silence,
    /// The watch goes on with bookmarks of the position that it began at, and never tells of a change.
    Deaf,
    /// The same, with bookmarks that move on: the changes are lost for good.
    Lossy,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    objects: Objects,
    behaviour: ApiBehaviour,
    faults: VecDeque<(String, ApiFault)>,
    requests: Vec<String>,
    connections: Vec<TcpStream>,
    down: bool,
    ended: bool,
}

impl Default for ApiBehaviour {
    fn default() -> Self {
        Self { streaming: true, page_max: 500, bookmark_every: Duration::from_secs(60), token: None }
    }
}

impl ApiServer {
    /// Serves on a port of the loopback interface.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start(behaviour: ApiBehaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback interface");
        Self::serve(listener, behaviour)
    }

    /// Serves on a listener, which may be of another network namespace.
    ///
    /// # Panics
    /// When the listener is none.
    #[must_use]
    pub fn serve(listener: TcpListener, behaviour: ApiBehaviour) -> Self {
        let address = listener.local_addr().expect("a listener has an address");
        let state = State {
            objects: Objects::default(),
            behaviour,
            faults: VecDeque::new(),
            requests: Vec::new(),
            connections: Vec::new(),
            down: false,
            ended: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = accepting.lock();
                if state.ended {
                    return;
                }
                if !state.down {
                    state.connections.extend(stream.try_clone());
                    let shared = Arc::clone(&accepting);
                    thread::spawn(move || answer::converse(&shared, stream));
                }
            }
        });
        Self { shared, address }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a kubeconfig that leads here, with a token that is read from `token_file` if given.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_kubeconfig(&self, file: &Path, token_file: Option<&Path>) {
        let user = token_file.map_or("{}".to_owned(), |file| format!("{{tokenFile: {}}}", file.display()));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: test, user: {user}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.address
        );
        fs::write(file, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
    }

    /// Creates or replaces an object, given with its `kind` and `metadata`.
    ///
    /// # Panics
    /// When it is of a kind that is not served.
    pub fn put(&self, object: Value) {
        self.shared.lock().objects.put(object);
        self.shared.changed.notify_all();
    }

    /// Creates or replaces the objects of a text with YAML documents in JSON form, one a line.
    ///
    /// # Panics
    /// When one is no JSON.
    pub fn put_all(&self, objects: impl IntoIterator<Item = Value>) {
        let mut state = self.shared.lock();
        objects.into_iter().for_each(|object| state.objects.put(object));
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Removes an object by its kind and `namespace/name` or `name`.
    ///
    /// # Panics
    /// When it is not there.
    pub fn delete(&self, kind: &str, name: &str) {
        self.shared.lock().objects.delete(kind, name);
        self.shared.changed.notify_all();
    }

    /// Forgets all changes so far: watches from before are answered with 410 Gone.
    pub fn compact(&self) {
        self.shared.lock().objects.compact();
    }

    /// Lets the next resource versions begin this much higher.
    pub fn jump(&self, by: u64) {
        self.shared.lock().objects.jump(by);
    }

    /// Lets something go wrong in the next answer about a kind, given as its part of the path
    /// (`services`). Watches under way end first, so that there is a next answer.
    pub fn fail_next(&self, kind: &str, fault: ApiFault) {
        self.shared.lock().faults.push_back((kind.to_owned(), fault));
        self.cut();
    }

    /// Ends all connections, as if the network had.
    pub fn cut(&self) {
        for stream in self.shared.lock().connections.drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
        self.shared.changed.notify_all();
    }

    /// Takes the server down, or up again.
    pub fn set_down(&self, down: bool) {
        self.shared.lock().down = down;
        if down {
            self.cut();
        }
    }

    /// Changes how it behaves from the next request on.
    pub fn behave(&self, change: impl FnOnce(&mut ApiBehaviour)) {
        change(&mut self.shared.lock().behaviour);
    }

    /// The paths that were asked for, with their queries, since this was called last.
    #[must_use]
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().requests)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.cut();
        // Wakes the thread that accepts.
        TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
