//! The seats of a request, in reach of its handler.

use crate::control::Permit;
use crate::lock::Mutex;
use std::sync::Arc;

/// Among a request's extensions: the seats it holds.
///
/// They are given back when the reply's body has ended. A handler may do so earlier, or take the permit
/// for work that goes on after the reply:
///
/// ```
/// use http::{Request, Response};
/// use seaway_apf::layer::Held;
///
/// async fn handler(request: Request<()>) -> Response<String> {
///     let permit = request.extensions().get::<Held>().and_then(Held::keep);
///     tokio::task::spawn_blocking(move || {
///         // Goes on after the reply, or after the client went away, and holds its seats until it ends.
///         drop(permit);
///     });
///     Response::new("on its way".to_owned())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Held(Arc<Mutex<Option<Permit>>>);

/// Among the extensions of a watch: gives its seats back before its body ends.
#[derive(Clone, Debug)]
pub struct WatchStarted(pub(super) Held);

/// Gives the seats back when dropped, unless the handler took them.
#[derive(Debug)]
pub(super) struct Guard(Held);

impl Held {
    /// Takes the permit: its seats are held until it is dropped. `None` if they were given back, or
    /// taken, before.
    #[must_use = "dropping the permit gives the seats back"]
    pub fn keep(&self) -> Option<Permit> {
        self.0.lock().take()
    }

    /// Gives the seats back now.
    pub fn release(&self) {
        drop(self.keep());
    }
}

impl WatchStarted {
    /// The initial events are on their way, or the request was passed on to another server.
    pub fn signal(&self) {
        self.0.release();
    }
}

impl Guard {
    pub(super) fn new(permit: Permit) -> Self {
        Self(Held(Arc::new(Mutex::new(Some(permit)))))
    }

    pub(super) fn held(&self) -> Held {
        self.0.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.release();
    }
}
