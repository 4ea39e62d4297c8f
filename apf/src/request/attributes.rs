//! Who asks, and what for.

use super::RequestInfo;

/// The group of users who have proved who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody else.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user name of everybody else.
pub const ANONYMOUS: &str = "system:anonymous";

/// Who asks, and what for.
///
/// ```
/// use seaway_apf::request::{Attributes, RequestInfo};
///
/// let http = Attributes::user("ann").asks(RequestInfo::parse("GET", "/api/v1/pods"));
/// let plain = Attributes::user("ann").in_group("batch").does("resize", "/images/42");
/// assert_eq!((http.request.verb.as_str(), plain.request.verb.as_str()), ("list", "resize"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// User name.
    pub user: String,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// What is asked for.
    pub request: RequestInfo,
}

impl Attributes {
    /// A user who has proved who they are, in the group [`AUTHENTICATED`].
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self { user: name.into(), groups: vec![AUTHENTICATED.to_owned()], request: RequestInfo::default() }
    }

    /// A user who has not: [`ANONYMOUS`], in the group [`UNAUTHENTICATED`].
    #[must_use]
    pub fn anonymous() -> Self {
        let groups = vec![UNAUTHENTICATED.to_owned()];
        Self { user: ANONYMOUS.to_owned(), groups, request: RequestInfo::default() }
    }

    /// Adds a group.
    #[must_use]
    pub fn in_group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// What is asked for, in HTTP's terms.
    #[must_use]
    pub fn asks(mut self, request: RequestInfo) -> Self {
        self.request = request;
        self
    }

    /// What is asked for by a protocol without URLs: any verb, done to anything that has a path.
    ///
    /// The `nonResourceRules` of schemas match it; the path should start with `/`.
    #[must_use]
    pub fn does(self, verb: &str, path: impl Into<String>) -> Self {
        self.asks(RequestInfo { verb: verb.into(), path: path.into(), ..RequestInfo::default() })
    }
}
