//! Answers made from the name that was asked for: the `template` plugin.

use regex::{Captures, Regex};

use super::hosts::falls_through;
use crate::name::{self, Zone};
use crate::record::{self, Record};
use crate::wire::query::Query;
use crate::wire::writer::{Section, Writer};
use crate::wire::{QUESTION_NAME, Rcode, kind};
use crate::zone::Outcome;

/// One `template` line.
#[derive(Clone, Debug)]
pub struct Template {
    /// The zones that it is about.
    pub zones: Vec<Zone>,
    /// The type that it is about; `None` is all.
    pub kind: Option<u16>,
    /// The names that it is about, in lower case and with the final dot.
    pub patterns: Vec<Regex>,
    /// The records of its answer.
    pub records: Vec<(Section, Text)>,
    /// The code of its answer.
    pub rcode: Rcode,
    /// The names that are looked for elsewhere if no pattern fits; `None` is nowhere.
    pub fallthrough: Option<Vec<Zone>>,
}

/// A record's text with places for parts of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Plain(String),
    Name,
    Zone,
    Kind,
    Class,
    Group(String),
    Match(usize),
}

impl Text {
    /// Reads a text such as `{{ .Name }} 60 IN A {{ .Group.a }}`.
    ///
    /// # Errors
    /// The place that stands for nothing known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (place, after) = after.split_once("}}").ok_or_else(|| after.to_owned())?;
            parts.push(Part::Plain(before.to_owned()));
            parts.push(Part::parse(place.trim()).ok_or_else(|| place.trim().to_owned())?);
            rest = after;
        }
        parts.push(Part::Plain(rest.to_owned()));
        Ok(Self(parts))
    }

    fn fill(&self, query: &Query<'_>, zone: &Zone, captures: &Captures<'_>) -> String {
        let part = |part: &Part| match part {
            Part::Plain(text) => text.clone(),
            Part::Name => name::text(query.name.wire()).to_ascii_lowercase(),
            Part::Zone => zone.to_string(),
            Part::Kind => kind::text(query.kind),
            Part::Class => "IN".to_owned(),
            Part::Group(name) => captures.name(name).map_or("", |group| group.as_str()).to_owned(),
            Part::Match(number) => captures.get(*number).map_or("", |group| group.as_str()).to_owned(),
        };
        self.0.iter().map(part).collect()
    }
}

impl Part {
    fn parse(place: &str) -> Option<Self> {
        Some(match place {
            ".Name" | ".Question.Name" => Self::Name,
            ".Zone" => Self::Zone,
            ".Type" => Self::Kind,
            ".Class" => Self::Class,
            _ => match place.strip_prefix(".Group.") {
                Some(group) => Self::Group(group.to_owned()),
                None => Self::Match(place.strip_prefix("index .Match ")?.trim().parse().ok()?),
            },
        })
    }
}

impl Template {
    /// Writes the answer to a query, if this has one.
    pub fn answer(&self, query: &Query<'_>, writer: &mut Writer<'_>) -> Outcome {
        let fitting = self.zones.iter().filter(|zone| query.name.is_within(zone));
        let Some(zone) = fitting.max_by_key(|zone| zone.labels()) else { return Outcome::Next };
        if self.kind.is_some_and(|kind| kind != query.kind) {
            return Outcome::Next;
        }
        let text = name::text(query.name.wire()).to_ascii_lowercase();
        let Some(captures) = self.patterns.iter().find_map(|pattern| pattern.captures(&text)) else {
            let next = falls_through(self.fallthrough.as_deref(), &query.name);
            return if next { Outcome::Next } else { Outcome::Answered(Rcode::ServFail) };
        };
        for (section, template) in &self.records {
            let filled = template.fill(query, zone, &captures);
            match record::parse(&filled, &[0]) {
                Ok(records) if !records.is_empty() => {
                    records.iter().for_each(|record| push(record, *section, query, writer));
                }
                unreadable => {
                    tracing::warn!(name = ?query.name, record = %filled, ?unreadable, "a template makes no record");
                    return Outcome::Answered(Rcode::ServFail);
                }
            }
        }
        Outcome::Answered(self.rcode)
    }
}

fn push(record: &Record, section: Section, query: &Query<'_>, writer: &mut Writer<'_>) {
    let asked = record.owner.eq_ignore_ascii_case(query.name.wire());
    let owner = |out: &mut Vec<u8>| match asked {
        true => out.extend_from_slice(&QUESTION_NAME.to_be_bytes()),
        false => out.extend_from_slice(&record.owner),
    };
    writer.add(section, owner, record.kind, record.ttl_s, |out| out.extend_from_slice(&record.data));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_stand_for_nothing_are_refused() {
        let check = |text: &str, wrong: &str| assert_eq!(Text::parse(text).unwrap_err(), wrong, "{text}");
        check("{{ .Name }} IN A {{ .Meta \"x\" }}", ".Meta \"x\"");
        check("{{ range .Match }}", "range .Match");
        assert!(Text::parse("{{.Name}} 60 IN A {{ .Group.a }}.{{ index .Match 2 }}").is_ok());
    }
}
