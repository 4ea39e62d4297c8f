//! What flow control knows about a request: who asks, and what for.

mod options;
mod selector;

pub use options::ListOptions;
pub use selector::requires_exact;

/// Who asks, and what for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// User name.
    pub user: String,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// What is asked for.
    pub request: RequestInfo,
}

/// What a request asks for, in the API's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether it is about a resource; if not, only verb and path are set.
    pub is_resource: bool,
    /// API verb, or the lower-case method for other requests.
    pub verb: String,
    /// Path of the URL, without the query.
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
    /// Parses method and URL (path and query).
    #[must_use]
    pub fn parse(method: &str, url: &str) -> Self {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let non_resource = Self {
            verb: method.to_ascii_lowercase(),
            path: path.into(),
            query: query.into(),
            ..Self::default()
        };
        Self::parse_resource(method, path, query).unwrap_or(non_resource)
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
        matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether it runs for as long as the client likes and is no watch: such requests bypass flow control.
    #[must_use]
    pub fn is_long_running(&self) -> bool {
        self.verb == "proxy"
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
            info.verb = verb_of_method(method).into();
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
        if info.verb != "proxy" {
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
        if self.verb == "delete" {
            self.verb = "deletecollection".into();
        }
        if self.verb != "get" {
            return;
        }
        let (watch, name) = match ListOptions::parse(&self.query) {
            Ok(options) => (options.watch, requires_exact(&options.field_selector, "metadata.name")),
            Err(_) => (options::raw_watch(&self.query), None),
        };
        self.verb = if watch { "watch" } else { "list" }.into();
        self.name = name.filter(|name| is_path_segment(name)).unwrap_or_default();
    }
}

fn verb_of_method(method: &str) -> &'static str {
    match method {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

fn is_path_segment(name: &str) -> bool {
    name != "." && name != ".." && !name.contains(['/', '%'])
}
