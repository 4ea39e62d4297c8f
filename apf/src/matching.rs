//! Whether a rule of a FlowSchema applies to a request.

use crate::object::{FlowSchemaSpec, NonResourceRule, PolicyRule, ResourceRule, Subject};
use crate::request::{Attributes, RequestInfo};

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Whether any rule of a schema applies.
#[must_use]
pub fn schema(spec: &FlowSchemaSpec, attributes: &Attributes) -> bool {
    spec.rules.iter().any(|rule| {
        rule.subjects.iter().any(|one| subject(one, &attributes.user, &attributes.groups))
            && action(rule, &attributes.request)
    })
}

/// Whether the request is what some resource rule or non-resource rule is about.
#[must_use]
pub fn action(rule: &PolicyRule, request: &RequestInfo) -> bool {
    if request.is_resource {
        rule.resource_rules.iter().any(|one| resource(one, request))
    } else {
        rule.non_resource_rules.iter().any(|one| non_resource(one, request))
    }
}

/// Whether a subject is this user or one of these groups.
#[must_use]
pub fn subject(subject: &Subject, user: &str, groups: &[String]) -> bool {
    match subject.kind.as_str() {
        "User" => subject.user.as_ref().is_some_and(|given| given.name == "*" || given.name == user),
        "Group" => subject.group.as_ref().is_some_and(|g| g.name == "*" || groups.contains(&g.name)),
        "ServiceAccount" => subject
            .service_account
            .as_ref()
            .is_some_and(|account| service_account(&account.namespace, &account.name, user)),
        _ => false,
    }
}

/// Whether a user name is the service account, or with name `*` any of the namespace: then whatever
/// follows the namespace is accepted, even nothing.
#[must_use]
pub fn service_account(namespace: &str, name: &str, user: &str) -> bool {
    user.strip_prefix(SERVICE_ACCOUNT)
        .and_then(|rest| rest.strip_prefix(namespace))
        .and_then(|rest| rest.strip_prefix(':'))
        .is_some_and(|rest| name == "*" || rest == name)
}

/// Whether a path is one of these, or below one.
#[must_use]
pub fn url(rule_urls: &[String], path: &str) -> bool {
    rule_urls.iter().any(|url| {
        url == "*" || url == path || {
            let prefix = url.strip_suffix('*').unwrap_or(url);
            path.strip_prefix(prefix).is_some_and(|rest| prefix.ends_with('/') || rest.starts_with('/'))
        }
    })
}

/// Whether a rule applies to every request of its subjects.
pub(crate) fn is_everything(rule: &PolicyRule) -> bool {
    rule.resource_rules.iter().any(|r| {
        r.cluster_scope
            && [&r.verbs, &r.api_groups, &r.resources, &r.namespaces].into_iter().all(|l| is_wildcard(l))
    }) && rule.non_resource_rules.iter().any(|r| is_wildcard(&r.verbs) && is_wildcard(&r.non_resource_urls))
}

fn resource(rule: &ResourceRule, request: &RequestInfo) -> bool {
    contains(&rule.verbs, request.verb.as_str())
        && contains_resource(&rule.resources, request)
        && contains(&rule.api_groups, &request.api_group)
        && if request.namespace.is_empty() {
            rule.cluster_scope
        } else {
            contains(&rule.namespaces, &request.namespace)
        }
}

fn non_resource(rule: &NonResourceRule, request: &RequestInfo) -> bool {
    contains(&rule.verbs, request.verb.as_str()) && url(&rule.non_resource_urls, &request.path)
}

/// `*` is a wildcard only as the single entry: validation forbids any other use.
fn contains(list: &[String], value: &str) -> bool {
    is_wildcard(list) || list.iter().any(|entry| entry == value)
}

fn contains_resource(list: &[String], request: &RequestInfo) -> bool {
    let (resource, subresource) = (request.resource.as_str(), request.subresource.as_str());
    is_wildcard(list)
        || list.iter().any(|entry| {
            entry.strip_prefix(resource).is_some_and(|rest| {
                if subresource.is_empty() {
                    rest.is_empty()
                } else {
                    rest.strip_prefix('/') == Some(subresource)
                }
            })
        })
}

/// Whether a list matches everything.
pub(crate) fn is_wildcard(list: &[String]) -> bool {
    matches!(list, [only] if only == "*")
}
