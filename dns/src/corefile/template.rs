//! The `template` plugin's options.

use super::lexer::Line;
use super::{Error, regex, zones};
use crate::name::Zone;
use crate::plugin::template::{Template, Text};
use crate::wire::writer::Section;
use crate::wire::{Rcode, kind};

const KNOWN: &str = "additional, answer, authority, fallthrough, match and rcode";

/// Reads `template CLASS TYPE [ZONES...] { ... }`.
pub(super) fn parse(line: &Line, of_block: &[Zone]) -> Result<Template, Error> {
    let [class, of_kind, zones @ ..] = line.arguments() else {
        return Err(line.error("it takes a class, a type and zones: IN ANY example.org"));
    };
    if !["IN", "ANY"].contains(&class.to_ascii_uppercase().as_str()) {
        return Err(line.error(format!("{class:?} is neither IN nor ANY")));
    }
    let kind = match of_kind.to_ascii_uppercase().as_str() {
        "ANY" => None,
        other => Some(kind::parse(other).ok_or_else(|| line.error(format!("{of_kind:?} is not a type")))?),
    };
    let zones = zones::or(line, zones, of_block)?;
    let mut template = Template {
        zones,
        kind,
        patterns: Vec::new(),
        records: Vec::new(),
        rcode: Rcode::NoError,
        fallthrough: None,
    };
    for option in &line.body {
        option.bare()?;
        match option.word() {
            "match" => {
                for word in option.arguments() {
                    template.patterns.push(regex(option, word)?);
                }
            }
            "answer" => template.records.push((Section::Answer, text(option)?)),
            "authority" => template.records.push((Section::Authority, text(option)?)),
            "additional" => template.records.push((Section::Additional, text(option)?)),
            "rcode" => template.rcode = rcode(option)?,
            "fallthrough" => template.fallthrough = Some(zones::or_root(option, option.arguments())?),
            _ => return Err(option.unknown(KNOWN)),
        }
    }
    // Sections are written in their order.
    template.records.sort_by_key(|(section, _)| *section);
    if template.patterns.is_empty() {
        template.patterns.push(regex(line, ".*")?);
    }
    if template.records.is_empty() && template.rcode == Rcode::NoError && line.body.is_empty() {
        return Err(line.error("it takes a block with an answer or an rcode"));
    }
    Ok(template)
}

fn text(line: &Line) -> Result<Text, Error> {
    let known = ".Name, .Zone, .Type, .Class, .Group.NAME and index .Match NUMBER";
    Text::parse(line.one("a record, in quotes")?)
        .map_err(|place| line.error(format!("{{{{ {place} }}}} stands for nothing (there are {known})")))
}

fn rcode(line: &Line) -> Result<Rcode, Error> {
    let word = line.one("a response code")?;
    Rcode::parse(word)
        .ok_or_else(|| line.error(format!("{word:?} is not a response code that is given here")))
}
