//! What can go wrong while building a network.

use std::io;

/// A step of the lab failed; the message names the step and the object, the source says why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine does not allow or does not have what the lab needs.
    #[error("{what} is not possible here: {advice}")]
    Unsupported {
        /// What was tried.
        what: String,
        /// What to do about it.
        advice: String,
        /// The kernel's answer, if there was one.
        source: Option<io::Error>,
    },
    /// A system call, a file operation or a child process failed.
    #[error("cannot {action}")]
    System {
        /// What was tried, as a verb and an object.
        action: String,
        /// The reason.
        source: io::Error,
    },
    /// The kernel refused a change of links, addresses, routes or rules.
    #[error("cannot {action}")]
    Netlink {
        /// What was tried, as a verb and an object.
        action: String,
        /// The reason.
        source: rtnetlink::Error,
    },
    /// Nothing happened until the deadline.
    #[error("{what} did not happen within {waited_ms} ms{context}")]
    Deadline {
        /// The event that was waited for.
        what: String,
        /// How long, in milliseconds.
        waited_ms: u128,
        /// What is known about the reason: empty, or starts on a new line.
        context: String,
    },
    /// A child process ended too early.
    #[error("{what} ended with {status}{context}")]
    Ended {
        /// The process.
        what: String,
        /// How it ended.
        status: String,
        /// Its last words: empty, or starts on a new line.
        context: String,
    },
    /// A worker's job, or what a worker answered, is not what was expected.
    #[error("cannot understand {what}")]
    Format {
        /// The text.
        what: String,
        /// The reason.
        source: serde_json::Error,
    },
}

impl Error {
    /// For `map_err`: a failed system call or file operation.
    pub(crate) fn system<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::System { action, source: source.into() }
    }

    /// For `map_err`: a refused netlink request.
    pub(crate) fn netlink(action: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let action = action.into();
        move |source| Self::Netlink { action, source }
    }
}
