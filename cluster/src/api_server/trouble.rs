//! What goes wrong between agent and API server, and what follows from it.

use std::fmt::Write as _;
use std::io;

use super::line::ServerError;

/// Why a list or a watch ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The position is too old (410 Gone): only a new list helps.
    #[error("the position is too old")]
    Gone,
    /// The credentials are not accepted (401): read them again.
    #[error("the API server does not accept the credentials (401 Unauthorized)")]
    Unauthorized,
    /// The server does not stream lists.
    #[error("the API server does not stream lists")]
    NotStreamed,
    /// The server refused.
    #[error("the API server answers {code}{}", detail(reason, message))]
    Refused {
        /// HTTP status.
        code: u16,
        /// `reason` of the answer.
        reason: String,
        /// `message` of the answer.
        message: String,
    },
    /// No connection, or one that broke.
    #[error("{0}")]
    Connection(String),
    /// The server sent something that is no line of a watch, or no page of a list.
    #[error("the API server sent what cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A line longer than the limit.
    #[error("the API server sent a line of more than {0} bytes")]
    TooLong(usize),
    /// A streamed list ended before its mark.
    #[error("the list ended early")]
    Unfinished,
    /// Nobody reads the facts any more.
    #[error("nobody reads the facts any more")]
    Done,
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status.code, &status.reason, &status.message),
            other => Self::Connection(chain(&other)),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Connection(chain(&error))
    }
}

impl From<ServerError> for Trouble {
    fn from(error: ServerError) -> Self {
        Self::of_status(error.code, &error.reason, &error.message)
    }
}

impl Trouble {
    fn of_status(code: u16, reason: &str, message: &str) -> Self {
        match code {
            410 => Self::Gone,
            401 => Self::Unauthorized,
            _ => Self::Refused { code, reason: reason.to_owned(), message: message.to_owned() },
        }
    }

    /// Whether the server does not know the kind (404), or the rights do not cover it (403).
    pub(super) fn withheld(&self) -> bool {
        matches!(self, Self::Refused { code: 403 | 404, .. })
    }

    /// Whether the request itself was not understood, as old servers answer to newer parameters.
    pub(super) fn not_understood(&self) -> bool {
        matches!(self, Self::Refused { code: 400 | 422, .. })
    }
}

fn detail(reason: &str, message: &str) -> String {
    [reason, message].iter().filter(|text| !text.is_empty()).fold(String::new(), |mut all, text| {
        all.push_str(if all.is_empty() { " " } else { ": " });
        all.push_str(text);
        all
    })
}

/// The error with its causes; the connection's errors say little without.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            write!(text, ": {more}").expect("a string takes every text");
        }
        cause = error.source();
    }
    text
}
