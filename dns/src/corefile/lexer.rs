//! Corefile text into blocks of lines of words.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::Error;

/// A server block: what it is asked for, and its plugins.
#[derive(Debug)]
pub(super) struct RawBlock {
    pub(super) head: Line,
    pub(super) plugins: Vec<Line>,
}

/// A line with what stands in braces after it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) plugin: Option<String>,
    pub(super) words: Vec<String>,
    pub(super) body: Vec<Line>,
}

/// A line's number, counted from 1, and its words.
pub(super) type Words = (usize, Vec<String>);

/// How deep braces are nested at most: block, plugin, option.
const DEPTH_MAX: usize = 3;

/// The lines of a text that have words.
pub(super) fn lines(text: &str) -> Result<Vec<Words>, Error> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let words = words(line).map_err(|problem| error(number, problem))?;
        let words: Result<Vec<String>, String> = words.iter().map(|word| environment(word)).collect();
        let words = words.map_err(|problem| error(number, problem))?;
        if !words.is_empty() {
            lines.push((number, words));
        }
    }
    Ok(lines)
}

/// The server blocks of lines.
pub(super) fn blocks(lines: Vec<Words>) -> Result<Vec<RawBlock>, Error> {
    let lines = joined(lines);
    let end = lines.last().map_or(1, |(number, _)| *number);
    let mut lines = lines.into_iter();
    let top = nested(&mut lines, 0, end)?;
    let mut blocks = Vec::new();
    for (mut head, braces) in top {
        if !braces {
            return Err(error(head.number, "a server block's names are followed by `{`"));
        }
        let mut plugins = std::mem::take(&mut head.body);
        for plugin in &mut plugins {
            let name = plugin.words[0].clone();
            name_plugin(plugin, &name);
        }
        blocks.push(RawBlock { head, plugins });
    }
    Ok(blocks)
}

impl RawBlock {
    /// Stands for its words, wherever they are in the file.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.head.hash(&mut hasher);
        self.plugins.hash(&mut hasher);
        hasher.finish()
    }
}

impl Hash for Line {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.words.hash(hasher);
        self.body.hash(hasher);
    }
}

impl Line {
    /// The first word: the plugin's or the option's name.
    pub(super) fn word(&self) -> &str {
        &self.words[0]
    }

    /// The words after the first.
    pub(super) fn arguments(&self) -> &[String] {
        &self.words[1..]
    }
}

/// The brace of a server block may stand on the line after its names.
fn joined(lines: Vec<Words>) -> Vec<Words> {
    let mut open = 0_usize;
    let mut joined: Vec<Words> = Vec::new();
    for (number, words) in lines {
        let brace = words == ["{"];
        match words.last().map(String::as_str) {
            Some("{") => open += 1,
            Some("}") => open = open.saturating_sub(1),
            _ => {}
        }
        match joined.last_mut() {
            Some((_, head)) if brace && open == 1 && head.last().is_some_and(|word| word != "}") => {
                head.extend(words);
            }
            _ => joined.push((number, words)),
        }
    }
    joined
}

fn nested(
    lines: &mut impl Iterator<Item = Words>,
    depth: usize,
    end: usize,
) -> Result<Vec<(Line, bool)>, Error> {
    let mut found = Vec::new();
    while let Some((number, mut words)) = lines.next() {
        if words == ["}"] {
            if depth == 0 {
                return Err(error(number, "there is a `}` too many"));
            }
            return Ok(found);
        }
        let opens = words.last().is_some_and(|word| word == "{");
        if opens {
            words.pop();
        }
        if words.is_empty() || words.iter().any(|word| word == "{" || word == "}") {
            return Err(error(number, "braces stand at the end of a line, or `}` alone on one"));
        }
        let mut body = Vec::new();
        if opens {
            if depth + 1 > DEPTH_MAX {
                return Err(error(number, "braces are nested too deep"));
            }
            body = nested(lines, depth + 1, end)?.into_iter().map(|(line, _)| line).collect();
        }
        found.push((Line { number, plugin: None, words, body }, opens));
    }
    if depth > 0 { Err(error(end, "a `}` is missing at the end")) } else { Ok(found) }
}

/// Words are parted by blanks; quotes keep blanks together, and `#` begins a comment.
fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (word, after) = quoted.split_once('"').ok_or("a quote is not closed on its line")?;
            words.push(word.to_owned());
            rest = after.trim_start();
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
    }
    Ok(words)
}

/// A word with the values of the environment's variables that it names: `{$NAME}` or `{%NAME%}`.
fn environment(word: &str) -> Result<String, String> {
    let mut whole = String::new();
    let mut rest = word;
    while let Some(at) = rest.find("{$").into_iter().chain(rest.find("{%")).min() {
        let end = if rest[at..].starts_with("{$") { "}" } else { "%}" };
        let Some((name, after)) = rest[at + 2..].split_once(end) else { break };
        let value = std::env::var(name).map_err(|_| format!("the environment has no variable {name:?}"))?;
        whole = whole + &rest[..at] + &value;
        rest = after;
    }
    Ok(whole + rest)
}

fn name_plugin(line: &mut Line, name: &str) {
    line.plugin = Some(name.to_owned());
    line.body.iter_mut().for_each(|line| name_plugin(line, name));
}

pub(super) fn error(line: usize, problem: impl Into<String>) -> Error {
    Error { line, plugin: None, problem: problem.into() }
}
