//! What flow control knows about a request: who asks, and what for.

mod attributes;
mod options;
mod selector;
mod target;
mod verb;

pub use attributes::{ANONYMOUS, AUTHENTICATED, Attributes, UNAUTHENTICATED};
pub use options::{ListOptions, Malformed};
pub use selector::requires_exact;
pub use verb::Verb;

/// What a request asks for, in the API's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether it is about a resource; if not, only verb and path are set.
    pub is_resource: bool,
    /// API verb, or the lower-case method for other requests.
    pub verb: Verb,
    /// Path of the URL, percent-decoded and without the query.
    pub path: String,
    /// API group; empty for the core group.
    pub api_group: String,
    /// API version.
    pub api_version: String,
    /// Namespace; empty for none.
    pub namespace: String,
    /// Resource in the plural.
    pub resource: String,
    /// Part of the resource, such as `status`.
    pub subresource: String,
    /// Name of the object, from the path or from a selector that requires it.
    pub name: String,
    /// The query, still encoded.
    pub query: String,
}

impl RequestInfo {
    /// Parses method and request target: a path with or without query, or an absolute URL, as HTTP/2
    /// has it. The path is percent-decoded first.
    #[must_use]
    pub fn parse(method: &str, target: &str) -> Self {
        let (path, query) = target::split(method, target);
        Self::parse_resource(method, &path, query).unwrap_or_else(|| Self {
            verb: method.to_ascii_lowercase().into(),
            path: path.into_owned(),
            query: query.into(),
            ..Self::default()
        })
    }

    /// The resource with its API group, such as `events.example.com`.
    #[must_use]
    pub fn group_resource(&self) -> String {
        if self.api_group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.api_group)
        }
    }

    /// Whether it reads only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self.verb, Verb::Get | Verb::List | Verb::Watch)
    }

    /// Whether it runs for as long as the client likes and is no watch: such requests bypass flow control.
    #[must_use]
    pub fn is_long_running(&self) -> bool {
        self.verb == Verb::Proxy
            || self.is_resource
                && matches!(self.subresource.as_str(), "attach" | "exec" | "proxy" | "log" | "portforward")
            || !self.is_resource && self.path.starts_with("/debug/pprof/")
    }

    fn parse_resource(method: &str, path: &str, query: &str) -> Option<Self> {
        let trimmed = path.trim_matches('/');
        let mut parts = trimmed.split('/').collect::<Vec<_>>();
        if parts.len() < 3 || !matches!(parts[0], "api" | "apis") {
            return None;
        }
        let mut info = Self { is_resource: true, path: path.into(), query: query.into(), ..Self::default() };
        let grouped = parts.remove(0) == "apis";
        if grouped {
            if parts.len() < 3 {
                return None;
            }
            info.api_group = parts.remove(0).into();
        }
        info.api_version = parts.remove(0).into();
        if matches!(parts[0], "proxy" | "watch") {
            if parts.len() < 2 {
                return Some(Self { is_resource: true, ..info });
            }
            info.verb = parts.remove(0).into();
        } else {
            info.verb = verb_of_method(method);
        }
        if parts[0] == "namespaces" && parts.len() > 1 {
            info.namespace = parts[1].into();
            if parts.len() > 2 && !matches!(parts[2], "status" | "finalize") {
                parts.drain(..2);
            }
        }
        let part = |index: usize| parts.get(index).copied().unwrap_or_default().to_owned();
        info.resource = part(0);
        info.name = part(1);
        if info.verb != Verb::Proxy {
            info.subresource = part(2);
        }
        info.collection();
        Some(info)
    }

    /// Turns get and delete without a name into what they are.
    fn collection(&mut self) {
        if !self.name.is_empty() {
            return;
        }
        if self.verb == Verb::Delete {
            self.verb = Verb::DeleteCollection;
        }
        if self.verb != Verb::Get {
            return;
        }
        let (watch, name) = match ListOptions::parse(&self.query) {
            Ok(options) => (options.watch, requires_exact(&options.field_selector, "metadata.name")),
            Err(_) => (options::raw_watch(&self.query), None),
        };
        self.verb = if watch { Verb::Watch } else { Verb::List };
        self.name = name.filter(|name| is_path_segment(name)).unwrap_or_default();
    }
}

fn verb_of_method(method: &str) -> Verb {
    match method {
        "POST" => Verb::Create,
        "GET" | "HEAD" => Verb::Get,
        "PUT" => Verb::Update,
        "PATCH" => Verb::Patch,
        "DELETE" => Verb::Delete,
        _ => Verb::default(),
    }
}

fn is_path_segment(name: &str) -> bool {
    name != "." && name != ".." && !name.contains(['/', '%'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f3_absolute_targets_are_parsed_as_their_path() {
        let list = RequestInfo::parse("GET", "/api/v1/pods?limit=5");
        for target in ["http://127.0.0.1:18080/api/v1/pods?limit=5", "HTTPS://h/api/v1/pods?limit=5"] {
            assert_eq!(RequestInfo::parse("GET", target), list);
        }
        let query_only = RequestInfo::parse("GET", "http://h?watch=1");
        assert_eq!((query_only.path.as_str(), query_only.query.as_str()), ("", "watch=1"));
        assert_eq!(RequestInfo::parse("GET", "http://h").path, "");
        assert_eq!(RequestInfo::parse("CONNECT", "h:443").path, "");
        assert_eq!(RequestInfo::parse("OPTIONS", "*").path, "*");
        assert_eq!(RequestInfo::parse("GET", "//h/api").path, "//h/api", "a path in origin form has no host");
        assert_eq!(RequestInfo::parse("GET", "/to/http://h/x").path, "/to/http://h/x");
    }

    #[test]
    fn f3_a_request_chooses_no_other_flow_by_spelling() {
        let plain = RequestInfo::parse("GET", "/api/v1/namespaces/shop/pods/web");
        for target in [
            "/%61pi/v1/namespaces/sh%6fp/pods/web",
            "/api/v1/namespaces/sh%6Fp/pods%2Fweb",
            "http://h/api/v1/namespaces/shop/pods/w%65b",
        ] {
            assert_eq!(RequestInfo::parse("GET", target), plain, "{target}");
        }
        assert_eq!(RequestInfo::parse("GET", "/%68ealthz").path, "/healthz");
        assert_eq!(RequestInfo::parse("GET", "/a%3Fb?c").path, "/a?b");
        assert_eq!(RequestInfo::parse("GET", "/100%").path, "/100%", "what is no escape stays");
    }
}
