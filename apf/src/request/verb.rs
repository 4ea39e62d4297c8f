//! What a request does: the API's verbs, and any other word.

use std::fmt;

/// The verb of a request.
///
/// The named variants are the API's verbs. A request that is not about a resource has its HTTP method
/// in lower case as its verb, and a protocol without methods any word it likes: [`Verb::Other`] where
/// no variant fits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// Reads one object, or a URL that is no resource.
    Get,
    /// Reads a collection.
    List,
    /// Streams changes.
    Watch,
    /// Creates an object.
    Create,
    /// Replaces an object.
    Update,
    /// Changes a part of an object.
    Patch,
    /// Deletes an object.
    Delete,
    /// Deletes a collection.
    DeleteCollection,
    /// Passes a request on to another server.
    Proxy,
    /// Any other word.
    Other(Box<str>),
}

impl Verb {
    /// The word that rules match.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Proxy => "proxy",
            Self::Other(word) => word,
        }
    }
}

impl Default for Verb {
    fn default() -> Self {
        Self::Other(Box::default())
    }
}

impl From<&str> for Verb {
    fn from(word: &str) -> Self {
        match word {
            "get" => Self::Get,
            "list" => Self::List,
            "watch" => Self::Watch,
            "create" => Self::Create,
            "update" => Self::Update,
            "patch" => Self::Patch,
            "delete" => Self::Delete,
            "deletecollection" => Self::DeleteCollection,
            "proxy" => Self::Proxy,
            other => Self::Other(other.into()),
        }
    }
}

impl From<String> for Verb {
    fn from(word: String) -> Self {
        word.as_str().into()
    }
}

impl PartialEq<str> for Verb {
    fn eq(&self, word: &str) -> bool {
        self.as_str() == word
    }
}

impl PartialEq<&str> for Verb {
    fn eq(&self, word: &&str) -> bool {
        self.as_str() == *word
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
