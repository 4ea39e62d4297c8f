//! The `rewrite` plugin's options.

use super::Error;
use super::lexer::Line;
use crate::plugin::rewrite::{AnswerChange, Change, Pattern, Rule};
use crate::wire::kind;

const KNOWN: &str = "name, ttl and type; other fields are not rewritten here";

/// Reads `rewrite [continue|stop] FIELD [MODE] FROM TO [answer ...]`; the answer's changes may stand
/// on the line, or on lines of a block.
pub(super) fn parse(line: &Line) -> Result<Rule, Error> {
    let mut words: Vec<&str> = line.arguments().iter().map(String::as_str).collect();
    let mut goes_on = false;
    if let Some(&("continue" | "stop")) = words.first() {
        goes_on = words.remove(0) == "continue";
    }
    // The long form: the rule itself is in the block.
    let mut body = line.body.iter();
    let mut at = line;
    if words.is_empty() {
        at = body.next().ok_or_else(|| line.error("it takes a field, and what becomes what"))?;
        words = at.words.iter().map(String::as_str).collect();
    }
    let answer_at = words.iter().position(|word| *word == "answer").unwrap_or(words.len());
    let (rule, rest) = words.split_at(answer_at);
    let change = change(at, rule)?;
    let mut answers = Vec::new();
    if !rest.is_empty() {
        answers.extend(answer(at, rest, &change)?);
    }
    for option in body {
        let words: Vec<&str> = option.words.iter().map(String::as_str).collect();
        answers.extend(answer(option, &words, &change)?);
    }
    Ok(Rule { change, goes_on, answers })
}

fn change(line: &Line, words: &[&str]) -> Result<Change, Error> {
    match words {
        ["name", from, to] => Ok(Change::Name(pattern(line, "exact", from)?, ending(to))),
        ["name", mode, from, to] => {
            let to =
                if matches!(*mode, "exact" | "suffix" | "regex") { ending(to) } else { (*to).to_owned() };
            Ok(Change::Name(pattern(line, mode, from)?, to))
        }
        ["type", from, to] => Ok(Change::Kind(kind_of(line, from)?, kind_of(line, to)?)),
        ["ttl", from, ttl] => ttl_of(line, pattern(line, "exact", from)?, ttl),
        ["ttl", mode, from, ttl] => ttl_of(line, pattern(line, mode, from)?, ttl),
        [field, ..] => Err(line.error(format!("{field:?} with these words is none of {KNOWN}"))),
        [] => Err(line.error("it takes a field, and what becomes what")),
    }
}

fn pattern(line: &Line, mode: &str, from: &str) -> Result<Pattern, Error> {
    let folded = from.to_ascii_lowercase();
    Ok(match mode {
        "exact" => Pattern::Exact(ending(&folded)),
        "prefix" => Pattern::Prefix(folded),
        "suffix" => Pattern::Suffix(ending(&folded)),
        "substring" => Pattern::Substring(folded),
        "regex" => Pattern::Regex(super::regex(line, from)?),
        other => {
            let known = "exact, prefix, suffix, substring and regex";
            return Err(line.error(format!("{other:?} is none of {known}")));
        }
    })
}

/// With a final dot.
fn ending(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

fn kind_of(line: &Line, word: &str) -> Result<u16, Error> {
    kind::parse(word).ok_or_else(|| line.error(format!("{word:?} is not a type")))
}

/// `30`, `30-60`, `30-` or `-60`.
fn ttl_of(line: &Line, pattern: Pattern, text: &str) -> Result<Change, Error> {
    let number = |text: &str, default| match text {
        "" => Ok(default),
        _ => line.number(text, 0, u32::MAX >> 1),
    };
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (number(low, 0)?, number(high, u32::MAX >> 1)?),
        None => (number(text, 0)?, number(text, 0)?),
    };
    if text.is_empty() || low > high {
        return Err(line.error(format!("{text:?} is neither seconds nor a range of seconds")));
    }
    Ok(Change::Ttl(pattern, low, high))
}

/// `answer auto`, `answer name REGEX TO` or `answer value REGEX TO`.
fn answer(line: &Line, words: &[&str], change: &Change) -> Result<Vec<AnswerChange>, Error> {
    let values = match words {
        ["answer", "auto"] => return automatic(line, change),
        ["answer", "name", _, _] => false,
        ["answer", "value", _, _] => true,
        ["answer", _, _] => false,
        _ => return Err(line.error("an answer is changed by auto, name REGEX TO or value REGEX TO")),
    };
    let [.., from, to] = words else { return Ok(Vec::new()) };
    let from = Pattern::Regex(super::regex(line, from)?);
    Ok(vec![AnswerChange { values, from, to: ending(to) }])
}

/// The rule backwards.
fn automatic(line: &Line, change: &Change) -> Result<Vec<AnswerChange>, Error> {
    let Change::Name(pattern, to) = change else {
        return Err(line.error("answer auto goes with names"));
    };
    let (from, to) = match pattern {
        Pattern::Exact(from) => (Pattern::Exact(to.to_ascii_lowercase()), from),
        Pattern::Prefix(from) => (Pattern::Prefix(to.to_ascii_lowercase()), from),
        Pattern::Suffix(from) => (Pattern::Suffix(to.to_ascii_lowercase()), from),
        Pattern::Substring(from) => (Pattern::Substring(to.to_ascii_lowercase()), from),
        Pattern::Regex(_) => return Err(line.error("answer auto does not go with regex")),
    };
    let change = |values| AnswerChange { values, from: from.clone(), to: to.clone() };
    Ok(vec![change(false), change(true)])
}
