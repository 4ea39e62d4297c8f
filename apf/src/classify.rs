//! From a request to the first schema that matches, without trying them all.
//!
//! Subjects are looked up first: user, groups and service-account namespace each name a set of
//! rules, kept as bits in effective order. Only rules in the union of those sets are then tried,
//! so a request costs its own few subjects plus the rules meant for them, however many schemas exist.
//! The tables hold names from the configuration only; no request can make them grow or collide.

use crate::matching;
use crate::object::{FlowSchema, FlowSchemaSpec, PolicyRule, ResourceRule, Subject};
use crate::request::{Attributes, RequestInfo};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

const WORD_BITS: usize = 64;

/// Compiled schemas in effective order.
#[derive(Debug, Default)]
pub struct Classifier {
    rules: Vec<CompiledRule>,
    anyone: RuleSet,
    users: FxHashMap<String, RuleSet>,
    groups: FxHashMap<String, RuleSet>,
    accounts: FxHashMap<String, RuleSet>,
}

#[derive(Debug)]
struct CompiledRule {
    schema: usize,
    /// Whether it applies to every request of its subjects.
    everything: bool,
    /// Whether being in a set of subjects is not enough: accounts are kept by namespace only.
    named_accounts: bool,
    resources: Vec<CompiledResource>,
    rule: PolicyRule,
}

/// A resource rule with its wildcards recognised; `None` stands for one.
#[derive(Debug)]
struct CompiledResource {
    verbs: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    /// Resources and subresources.
    resources: Option<Vec<(String, String)>>,
    namespaces: Option<Vec<String>>,
    cluster_scope: bool,
}

#[derive(Clone, Debug, Default)]
struct RuleSet(Vec<u64>);

/// Sorts schemas into the order in which they are tried: by precedence, then by name.
pub fn sort(schemas: &mut [FlowSchema]) {
    schemas.sort_by(|a, b| {
        let key = |schema: &FlowSchema| schema.spec.matching_precedence;
        key(a).cmp(&key(b)).then_with(|| a.metadata.name.cmp(&b.metadata.name))
    });
}

impl Classifier {
    /// Compiles schemas that are in effective order.
    pub fn new<'a>(schemas: impl IntoIterator<Item = &'a FlowSchemaSpec>) -> Self {
        let mut compiled = Self::default();
        for (schema, spec) in schemas.into_iter().enumerate() {
            for rule in &spec.rules {
                compiled.add(schema, rule);
            }
        }
        compiled
    }

    /// Position of the first schema that matches.
    #[must_use]
    pub fn first(&self, attributes: &Attributes) -> Option<usize> {
        self.matches(attributes).next()
    }

    /// Positions of all matching schemas in order; one may appear once per matching rule.
    pub fn matches<'a>(&'a self, attributes: &'a Attributes) -> impl Iterator<Item = usize> + 'a {
        let mut sets: SmallVec<[&[u64]; 8]> = SmallVec::new();
        sets.push(&self.anyone.0);
        sets.extend(self.users.get(&attributes.user).map(|set| set.0.as_slice()));
        for group in &attributes.groups {
            sets.extend(self.groups.get(group).map(|set| set.0.as_slice()));
        }
        if !self.accounts.is_empty()
            && let Some(rest) = attributes.user.strip_prefix("system:serviceaccount:")
            && let Some((namespace, _)) = rest.split_once(':')
        {
            sets.extend(self.accounts.get(namespace).map(|set| set.0.as_slice()));
        }
        Candidates { sets, word: 0, bits: 0, words: self.rules.len().div_ceil(WORD_BITS) }
            .map(|index| &self.rules[index])
            .filter(|rule| rule.applies(attributes))
            .map(|rule| rule.schema)
    }

    fn add(&mut self, schema: usize, rule: &PolicyRule) {
        let index = self.rules.len();
        for subject in &rule.subjects {
            let named = match subject.kind.as_str() {
                "User" => subject.user.as_ref().map(|user| (&mut self.users, &user.name)),
                "Group" => subject.group.as_ref().map(|group| (&mut self.groups, &group.name)),
                "ServiceAccount" => {
                    subject.service_account.as_ref().map(|account| (&mut self.accounts, &account.namespace))
                }
                _ => None,
            };
            match named {
                Some((_, name)) if name == "*" && subject.kind != "ServiceAccount" => {
                    self.anyone.insert(index);
                }
                Some((table, name)) => table.entry(name.clone()).or_default().insert(index),
                None => {}
            }
        }
        let account = |subject: &Subject| subject.service_account.as_ref().is_some_and(|a| a.name != "*");
        let named_accounts = rule.subjects.iter().any(account);
        let everything = matching::is_everything(rule);
        self.rules.push(CompiledRule {
            schema,
            everything,
            named_accounts,
            resources: rule.resource_rules.iter().map(CompiledResource::new).collect(),
            rule: rule.clone(),
        });
    }
}

impl CompiledRule {
    fn applies(&self, attributes: &Attributes) -> bool {
        (self.everything || self.is_about(&attributes.request))
            && (!self.named_accounts || self.is_subject(attributes))
    }

    fn is_about(&self, request: &RequestInfo) -> bool {
        if request.is_resource {
            self.resources.iter().any(|one| one.applies(request))
        } else {
            matching::action(&self.rule, request)
        }
    }

    fn is_subject(&self, attributes: &Attributes) -> bool {
        let is = |subject| matching::subject(subject, &attributes.user, &attributes.groups);
        self.rule.subjects.iter().any(is)
    }
}

impl CompiledResource {
    fn new(rule: &ResourceRule) -> Self {
        let list = |list: &[String]| (!matching::is_wildcard(list)).then(|| list.to_vec());
        let split = |entry: String| match entry.split_once('/') {
            Some((resource, subresource)) => (resource.to_owned(), subresource.to_owned()),
            None => (entry, String::new()),
        };
        Self {
            verbs: list(&rule.verbs),
            groups: list(&rule.api_groups),
            resources: list(&rule.resources).map(|entries| entries.into_iter().map(split).collect()),
            namespaces: list(&rule.namespaces),
            cluster_scope: rule.cluster_scope,
        }
    }

    fn applies(&self, request: &RequestInfo) -> bool {
        let has = |list: &Option<Vec<String>>, value: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|entry| same(entry, value)))
        };
        let is_resource = |(resource, subresource): &(String, String)| {
            same(resource, &request.resource) && same(subresource, &request.subresource)
        };
        self.resources.as_ref().is_none_or(|list| list.iter().any(is_resource))
            && has(&self.groups, &request.api_group)
            && has(&self.verbs, request.verb.as_str())
            && if request.namespace.is_empty() {
                self.cluster_scope
            } else {
                has(&self.namespaces, &request.namespace)
            }
    }
}

/// Equality that does not compare nothing with nothing: an empty string has no valid address, and on
/// processors with AVX-512 the C library's comparison of zero bytes there costs some 150 ns.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && (a.is_empty() || a == b)
}

impl RuleSet {
    fn insert(&mut self, index: usize) {
        if self.0.len() <= index / WORD_BITS {
            self.0.resize(index / WORD_BITS + 1, 0);
        }
        self.0[index / WORD_BITS] |= 1 << (index % WORD_BITS);
    }
}

/// The union of some rule sets, in order.
struct Candidates<'a> {
    sets: SmallVec<[&'a [u64]; 8]>,
    word: usize,
    words: usize,
    bits: u64,
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            if self.word == self.words {
                return None;
            }
            self.bits = self.sets.iter().filter_map(|set| set.get(self.word)).fold(0, |all, word| all | word);
            self.word += 1;
        }
        let bit = self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some((self.word - 1) * WORD_BITS + bit)
    }
}
