//! Queries that are looked up as others: the `rewrite` plugin.

use std::borrow::Cow;

use regex::{Captures, Regex};

use crate::name::{self, Name};
use crate::record::Record;

/// One `rewrite` line.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it changes.
    pub change: Change,
    /// Rules after it are looked at as well.
    pub goes_on: bool,
    /// What becomes of the answer besides that the question's name comes back.
    pub answers: Vec<AnswerChange>,
}

/// A change of a query, or of how long its answer lives.
#[derive(Clone, Debug)]
pub enum Change {
    /// Another name.
    Name(Pattern, String),
    /// Another type.
    Kind(u16, u16),
    /// Answers to queries for such names live so long, in seconds.
    Ttl(Pattern, u32, u32),
}

/// Names, in lower case and with the final dot.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// This one.
    Exact(String),
    /// Those that begin so.
    Prefix(String),
    /// Those that end so.
    Suffix(String),
    /// Those with this in them.
    Substring(String),
    /// Those that match.
    Regex(Regex),
}

/// A change of the names in an answer.
#[derive(Clone, Debug)]
pub struct AnswerChange {
    /// Names in the data change, not owners.
    pub values: bool,
    /// Which.
    pub from: Pattern,
    /// Into what.
    pub to: String,
}

/// A query as it is looked up, and how its answer is changed back.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The name.
    pub name: Box<[u8]>,
    /// The type.
    pub kind: u16,
    /// What changes in the answer.
    pub back: Back,
}

/// How an answer is changed back.
#[derive(Clone, Debug, Default)]
pub struct Back {
    /// The name that was asked for instead, in lower case.
    name: Box<[u8]>,
    changes: Vec<AnswerChange>,
    ttl_s: Option<(u32, u32)>,
}

/// What a query is looked up as; `None` if as itself.
pub fn rewrite(rules: &[Rule], asked: &Name<'_>, wanted: u16) -> Option<Rewritten> {
    let mut text = name::text(asked.wire()).to_ascii_lowercase();
    let (mut kind, mut some) = (wanted, false);
    let mut back = Back::default();
    for rule in rules {
        let applied = match &rule.change {
            Change::Name(pattern, to) => match pattern.replace(&text, to) {
                Some(changed) => {
                    text = changed.to_ascii_lowercase();
                    true
                }
                None => false,
            },
            Change::Kind(from, to) if *from == kind => {
                kind = *to;
                true
            }
            Change::Kind(..) => false,
            Change::Ttl(pattern, low, high) => {
                let fits = pattern.replace(&text, "").is_some();
                if fits {
                    back.ttl_s = Some((*low, *high));
                }
                fits
            }
        };
        if applied {
            some = true;
            back.changes.extend(rule.answers.iter().cloned());
            if !rule.goes_on {
                break;
            }
        }
    }
    let name = name::parse(&text).ok().filter(|_| some)?;
    back.name = name.clone();
    // A name that did not change keeps its letters.
    let same = name.eq_ignore_ascii_case(asked.wire());
    let name = if same { asked.wire().into() } else { name };
    Some(Rewritten { name, kind, back })
}

impl Back {
    /// Changes a record of the answer to what the client asked for.
    pub fn record(&self, record: &mut Record, asked: &[u8]) {
        if record.owner.eq_ignore_ascii_case(&self.name) {
            record.owner = asked.into();
        }
        for change in &self.changes {
            if !change.values {
                change.apply(&mut record.owner, 0);
            } else if let Some(target) = record.target() {
                let start = record.data.len() - target.len();
                change.apply(&mut record.data, start);
            }
        }
        if let Some((low, high)) = self.ttl_s {
            record.ttl_s = record.ttl_s.clamp(low, high);
        }
    }
}

impl AnswerChange {
    fn apply(&self, octets: &mut Box<[u8]>, start: usize) {
        let text = name::text(&octets[start..]);
        let changed = self.from.replace(&text.to_ascii_lowercase(), &self.to);
        if let Some(wire) = changed.and_then(|changed| name::parse(&changed).ok()) {
            *octets = [&octets[..start], &wire].concat().into();
        }
    }
}

impl Pattern {
    /// What a name becomes; `None` if it does not fit.
    pub fn replace(&self, name: &str, to: &str) -> Option<String> {
        match self {
            Self::Exact(from) => (name == from).then(|| to.to_owned()),
            Self::Prefix(from) => name.strip_prefix(from.as_str()).map(|rest| format!("{to}{rest}")),
            Self::Suffix(from) => name.strip_suffix(from.as_str()).map(|rest| format!("{rest}{to}")),
            Self::Substring(from) => name.contains(from.as_str()).then(|| name.replace(from.as_str(), to)),
            Self::Regex(regex) => regex.captures(name).map(|captures| fill(to, &captures).into_owned()),
        }
    }
}

/// Puts the groups of a match in the place of `{1}`, `{2}` and so on.
fn fill<'t>(template: &'t str, captures: &Captures<'_>) -> Cow<'t, str> {
    let mut text = Cow::Borrowed(template);
    for (number, group) in captures.iter().enumerate() {
        let place = format!("{{{number}}}");
        if text.contains(&place) {
            text = Cow::Owned(text.replace(&place, group.map_or("", |group| group.as_str())));
        }
    }
    text
}
