//! The options of `log` and `errors`.

use std::sync::Arc;

use super::lexer::Line;
use super::{Error, duration, regex, zones};
use crate::plugin::errors::{Burst, Errors, Level};
use crate::plugin::log::{Class, Format, Log};

/// Reads `log [NAMES...] [FORMAT] { class all|success|denial|error... }`.
pub(super) fn log(line: &Line) -> Result<Log, Error> {
    let (names, format) = match line.arguments() {
        [names @ .., format] if format.contains('{') => (names, Some(format)),
        names => (names, None),
    };
    let format = match format {
        None => Format::default(),
        Some(text) => Format::parse(text).map_err(|name| {
            line.error(format!("{{{name}}} stands for nothing (there are {})", Format::known()))
        })?,
    };
    let mut classes = Vec::new();
    for option in &line.body {
        option.bare()?;
        match (option.word(), option.arguments()) {
            ("class", names @ [_, ..]) => {
                for name in names.iter().filter(|name| *name != "all") {
                    let problem =
                        || option.error(format!("{name:?} is none of all, denial, error and success"));
                    classes.push(Class::parse(name).ok_or_else(problem)?);
                }
                if names.iter().any(|name| name == "all") {
                    classes = vec![Class::Success, Class::Denial, Class::Error];
                }
            }
            ("class", []) => return Err(option.error("class takes all, denial, error or success")),
            _ => return Err(option.unknown("class")),
        }
    }
    Ok(Log { zones: zones::parse(line, names)?, format, classes })
}

/// Reads `errors { stacktrace; consolidate DURATION REGEX [LEVEL] [show_first] }`.
pub(super) fn errors(line: &Line) -> Result<Errors, Error> {
    line.none()?;
    let mut errors = Errors::default();
    for option in &line.body {
        option.bare()?;
        match (option.word(), option.arguments()) {
            ("stacktrace", []) => errors.stacktrace = true,
            ("consolidate", [period, pattern, rest @ ..]) => {
                let period = duration::parse(option, period)?;
                let pattern = regex(option, pattern)?;
                let (show_first, level) = match rest {
                    [rest @ .., last] if last == "show_first" => (true, rest),
                    rest => (false, rest),
                };
                let level = match level {
                    [] => Level::Error,
                    [name] => level_of(option, name)?,
                    [_, more, ..] => return Err(option.error(format!("{more:?} is not show_first"))),
                };
                errors.bursts.push(Arc::new(Burst::new(period, pattern, level, show_first)));
            }
            ("consolidate", _) => {
                return Err(option.error("consolidate takes a duration, a pattern, and a level if any"));
            }
            ("stacktrace", _) => option.none()?,
            _ => return Err(option.unknown("consolidate and stacktrace")),
        }
    }
    Ok(errors)
}

fn level_of(line: &Line, name: &str) -> Result<Level, Error> {
    match name {
        "debug" => Ok(Level::Debug),
        "info" => Ok(Level::Info),
        "warning" => Ok(Level::Warning),
        "error" => Ok(Level::Error),
        other => Err(line.error(format!("{other:?} is none of debug, error, info and warning"))),
    }
}
