//! The rules for a FlowSchema.

use super::{Class, FieldError, conditions, error, name, object_name};
use crate::annotations;
use crate::builtin;
use crate::object::{FlowSchema, NonResourceRule, PolicyRule, ResourceRule, Subject};

/// The highest precedence.
pub const PRECEDENCE_MAX: i32 = 10_000;

const VERBS: [&str; 9] =
    ["get", "list", "create", "update", "delete", "deletecollection", "patch", "watch", "proxy"];

/// Every broken rule of a schema.
#[must_use]
pub fn flow_schema(schema: &FlowSchema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (spec, own_name) = (&schema.spec, schema.metadata.name.as_str());
    object_name(own_name, &mut errors);
    if let Err(message) = annotations::flow_weight(&schema.metadata) {
        let field = format!("metadata.annotations[{}]", annotations::FLOW_WEIGHT);
        errors.push(error(field, Class::Invalid, message));
    }
    if let Some(builtin) = builtin::mandatory_schema(own_name) {
        let mut given = schema.clone();
        crate::defaults::flow_schema(&mut given);
        if given.spec != builtin.spec {
            errors.push(error("spec", Class::Invalid, format!("{own_name} must keep its built-in spec")));
        }
    }
    let precedence = |message: &str| error("spec.matchingPrecedence", Class::Invalid, message);
    match spec.matching_precedence {
        ..=0 => errors.push(precedence("must be positive")),
        1 if own_name != builtin::EXEMPT => errors.push(precedence("1 is kept for the schema exempt")),
        value if value > PRECEDENCE_MAX => errors.push(precedence("must be at most 10000")),
        _ => {}
    }
    if let Some(method) = &spec.distinguisher_method
        && !matches!(method.kind.as_str(), "ByUser" | "ByNamespace")
    {
        let field = "spec.distinguisherMethod.type";
        errors.push(error(field, Class::NotSupported, "use ByUser or ByNamespace"));
    }
    let (level, field) = (&spec.priority_level_configuration.name, "spec.priorityLevelConfiguration.name");
    if level.is_empty() {
        errors.push(error(field, Class::Required, "name the level"));
    } else if !name::is_subdomain(level) {
        errors.push(error(field, Class::Invalid, name::SUBDOMAIN));
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        policy_rule(rule, &format!("spec.rules[{index}]"), &mut errors);
    }
    conditions(&schema.status, &mut errors);
    errors
}

fn policy_rule(rule: &PolicyRule, path: &str, errors: &mut Vec<FieldError>) {
    if rule.subjects.is_empty() {
        errors.push(error(format!("{path}.subjects"), Class::Required, "give at least one subject"));
    }
    for (index, one) in rule.subjects.iter().enumerate() {
        subject(one, &format!("{path}.subjects[{index}]"), errors);
    }
    if rule.resource_rules.is_empty() && rule.non_resource_rules.is_empty() {
        errors.push(error(path, Class::Required, "give at least one of resourceRules and nonResourceRules"));
    }
    for (index, one) in rule.resource_rules.iter().enumerate() {
        resource_rule(one, &format!("{path}.resourceRules[{index}]"), errors);
    }
    for (index, one) in rule.non_resource_rules.iter().enumerate() {
        non_resource_rule(one, &format!("{path}.nonResourceRules[{index}]"), errors);
    }
}

fn subject(subject: &Subject, path: &str, errors: &mut Vec<FieldError>) {
    let members = [
        ("User", "user", subject.user.is_some()),
        ("Group", "group", subject.group.is_some()),
        ("ServiceAccount", "serviceAccount", subject.service_account.is_some()),
    ];
    if !members.iter().any(|(kind, ..)| *kind == subject.kind) {
        let message = "use User, Group or ServiceAccount";
        errors.push(error(format!("{path}.kind"), Class::NotSupported, message));
        return;
    }
    for (kind, member, given) in members {
        let field = format!("{path}.{member}");
        match (kind == subject.kind, given) {
            (true, false) => {
                errors.push(error(field, Class::Required, format!("kind {kind} needs it")));
            }
            (false, true) => {
                let message = format!("kind {} forbids it", subject.kind);
                errors.push(error(field, Class::Forbidden, message));
            }
            _ => {}
        }
    }
    let named = match subject.kind.as_str() {
        "User" => subject.user.as_ref().map(|user| ("user", &user.name)),
        "Group" => subject.group.as_ref().map(|group| ("group", &group.name)),
        _ => None,
    };
    if let Some((member, "")) = named.map(|(member, name)| (member, name.as_str())) {
        errors.push(error(format!("{path}.{member}.name"), Class::Required, "give a name or *"));
    }
    if let Some(account) = subject.service_account.as_ref().filter(|_| subject.kind == "ServiceAccount") {
        let field = format!("{path}.serviceAccount.namespace");
        if account.namespace.is_empty() {
            errors.push(error(field, Class::Required, "name the namespace"));
        } else if !name::is_label(&account.namespace) {
            errors.push(error(field, Class::Invalid, name::LABEL));
        }
        let field = format!("{path}.serviceAccount.name");
        if account.name.is_empty() {
            errors.push(error(field, Class::Required, "give a name or *"));
        } else if account.name != "*" && !name::is_subdomain(&account.name) {
            errors.push(error(field, Class::Invalid, name::SUBDOMAIN));
        }
    }
}

fn resource_rule(rule: &ResourceRule, path: &str, errors: &mut Vec<FieldError>) {
    verbs(&rule.verbs, path, errors);
    wildcard_list(&rule.api_groups, format!("{path}.apiGroups"), errors);
    wildcard_list(&rule.resources, format!("{path}.resources"), errors);
    if rule.namespaces.is_empty() {
        if !rule.cluster_scope {
            let message = "name namespaces or set clusterScope";
            errors.push(error(format!("{path}.namespaces"), Class::Required, message));
        }
    } else if wildcard_list(&rule.namespaces, format!("{path}.namespaces"), errors) {
        for (index, namespace) in rule.namespaces.iter().enumerate() {
            if !name::is_label(namespace) {
                let field = format!("{path}.namespaces[{index}]");
                errors.push(error(field, Class::Invalid, format!("{} or *", name::LABEL)));
            }
        }
    }
}

fn non_resource_rule(rule: &NonResourceRule, path: &str, errors: &mut Vec<FieldError>) {
    verbs(&rule.verbs, path, errors);
    if wildcard_list(&rule.non_resource_urls, format!("{path}.nonResourceURLs"), errors) {
        for (index, url) in rule.non_resource_urls.iter().enumerate() {
            if let Some(message) = url_problem(url) {
                errors.push(error(format!("{path}.nonResourceURLs[{index}]"), Class::Invalid, message));
            }
        }
    }
}

fn verbs(verbs: &[String], path: &str, errors: &mut Vec<FieldError>) {
    let field = format!("{path}.verbs");
    if wildcard_list(verbs, field.clone(), errors) && !verbs.iter().all(|v| VERBS.contains(&v.as_str())) {
        errors.push(error(field, Class::NotSupported, format!("use * or some of {}", VERBS.join(", "))));
    }
}

/// Whether the entries are to be checked one by one: the list is neither empty nor has a wildcard.
fn wildcard_list(list: &[String], field: String, errors: &mut Vec<FieldError>) -> bool {
    let wildcard = list.iter().any(|entry| entry == "*");
    if list.is_empty() {
        errors.push(error(field, Class::Required, "give at least one entry"));
    } else if wildcard && list.len() > 1 {
        errors.push(error(field, Class::Invalid, "if * is present it must be the only entry"));
    }
    !list.is_empty() && !wildcard
}

fn url_problem(url: &str) -> Option<&'static str> {
    let wildcards = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with a slash"),
        _ if url.contains(' ') => Some("must not contain a space"),
        _ if url.contains("//") => Some("must not contain a double slash"),
        _ if wildcards > 1 || wildcards == 1 && !url.ends_with("/*") => {
            Some("a wildcard may only be the suffix /*")
        }
        _ => None,
    }
}
