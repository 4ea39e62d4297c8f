//! Corefiles: the configuration language of CoreDNS, as far as its plugins are here.
//!
//! What is not known is an error that names the line and the plugin; nothing is ignored.

mod acl;
mod block;
mod cache;
mod duration;
mod forward;
mod import;
mod kubernetes;
mod lexer;
mod log;
mod names;
mod rcode;
mod rewrite;
mod secure;
mod template;
mod zones;

use std::path::Path;

use regex::Regex;

use crate::block::Block;
use lexer::Line;

/// What is wrong with a Corefile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {}{problem}", plugin.as_deref().map(|plugin| format!("{plugin}: ")).unwrap_or_default())]
pub struct Error {
    /// The line, counted from 1.
    pub line: usize,
    /// The plugin that it belongs to, if any.
    pub plugin: Option<String>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Reads the text of a Corefile. Files that it names are read now, relative ones from `dir`.
///
/// # Errors
/// For the first thing that is wrong.
pub fn parse(text: &str, dir: &Path) -> Result<Vec<Block>, Error> {
    let import::Whole { lines, watched, .. } = import::expand(text, dir)?;
    let blocks = lexer::blocks(lines)?;
    let mut parsed: Vec<Block> = Vec::new();
    for block in &blocks {
        for mut new in block::parse(block, dir)? {
            new.watched.extend(watched.iter().cloned());
            let taken = parsed.iter().filter(|other| other.place() == new.place());
            let mut twice = taken.flat_map(|other| &other.zones).filter(|zone| new.zones.contains(zone));
            if let Some(zone) = twice.next() {
                return Err(block.head.error(format!("zone {zone} is served on {} already", new.place())));
            }
            parsed.push(new);
        }
    }
    if parsed.is_empty() {
        return Err(Error { line: 1, plugin: None, problem: "there is no server block".to_owned() });
    }
    Ok(parsed)
}

/// A pattern, as CoreDNS writes them.
fn regex(line: &Line, text: &str) -> Result<Regex, Error> {
    Regex::new(text).map_err(|error| line.error(format!("{text:?} is not a pattern: {error}")))
}

impl Line {
    /// An error about this line.
    fn error(&self, problem: impl Into<String>) -> Error {
        Error { line: self.number, plugin: self.plugin.clone(), problem: problem.into() }
    }

    /// The only argument.
    fn one(&self, what: &str) -> Result<&str, Error> {
        match self.arguments() {
            [one] => Ok(one),
            _ => Err(self.error(format!("{} takes one argument: {what}", self.word()))),
        }
    }

    /// Fails if there is an argument.
    fn none(&self) -> Result<(), Error> {
        match self.arguments() {
            [] => Ok(()),
            [first, ..] => Err(self.error(format!("{} takes no argument, {first:?} is one", self.word()))),
        }
    }

    /// Fails if there is a block.
    fn bare(&self) -> Result<(), Error> {
        match self.body.first() {
            None => Ok(()),
            Some(line) => Err(line.error(format!("there is no option {:?}", line.word()))),
        }
    }

    /// An error for an option that the plugin does not have.
    fn unknown(&self, known: &str) -> Error {
        self.error(format!("there is no option {:?} (there are {known})", self.word()))
    }

    /// A whole number in a range.
    fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy>(
        &self,
        text: &str,
        low: T,
        high: T,
    ) -> Result<T, Error> {
        let number = text.parse().ok().filter(|number| (&low..=&high).contains(&number));
        number.ok_or_else(|| self.error(format!("{text:?} is not a number from {low} to {high}")))
    }
}
