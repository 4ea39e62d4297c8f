//! What a request is answered with, as Go's HTTP server would send it.

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, without `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body that a GET gets; a HEAD gets its length alone.
    pub body: String,
}

impl Answer {
    /// What goes over the wire: the length is said, and a HEAD gets no more than that (and not
    /// even that where there would be no body).
    #[must_use]
    pub fn sent(mut self, method: &str) -> Self {
        let head = method == "HEAD";
        if !head || !self.body.is_empty() {
            self.headers.push(("Content-Length", self.body.len().to_string()));
        }
        if head {
            self.body.clear();
        }
        self
    }

    /// JSON, or something else that must not be guessed at.
    pub(super) fn typed(status: u16, content_type: &str, body: String) -> Self {
        let headers =
            vec![("Content-Type", content_type.to_owned()), ("X-Content-Type-Options", "nosniff".to_owned())];
        Self { status, headers, body }
    }
}
