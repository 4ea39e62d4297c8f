//! Which interfaces are asked for: by name, by pattern, or by what they are (`auto`).

mod selection;

use anyhow::{Context, Result, ensure};
use glob::Pattern;

pub(super) use selection::Selection;

/// What stands for what the agent finds.
pub(super) const AUTO: &str = "auto";
/// What stands for none.
const NONE: &str = "none";

/// What one flag asks for.
#[derive(Clone, Debug)]
pub(super) struct Interfaces {
    flag: &'static str,
    auto: bool,
    names: Vec<String>,
    patterns: Vec<Pattern>,
}

impl Interfaces {
    /// A text with one of `*?[` is a pattern. Nothing, an empty text and `none` ask for nothing.
    pub(super) fn parse(flag: &'static str, texts: &[String]) -> Result<Self> {
        let texts: Vec<&String> = texts.iter().filter(|text| !text.is_empty()).collect();
        let none = texts.iter().any(|text| *text == NONE);
        ensure!(!none || texts.len() == 1, "{flag}: `{NONE}` stands alone");
        let auto = texts.iter().any(|text| *text == AUTO);
        let named = texts.into_iter().filter(|text| *text != AUTO && *text != NONE);
        let (patterns, names): (Vec<&String>, Vec<&String>) =
            named.partition(|text| text.contains(['*', '?', '[']));
        let parse = |text: &String| Pattern::new(text).with_context(|| format!("{flag} {text}"));
        let patterns = patterns.into_iter().map(parse).collect::<Result<_>>()?;
        Ok(Self { flag, auto, names: names.into_iter().cloned().collect(), patterns })
    }

    /// Those that are asked for by name and have to be there.
    pub(super) fn named(&self) -> &[String] {
        &self.names
    }

    /// Whether interfaces that come later may be asked for.
    pub(super) fn may_grow(&self) -> bool {
        self.auto || !self.patterns.is_empty()
    }

    /// Whether it asks for what the agent finds.
    pub(super) fn is_auto(&self) -> bool {
        self.auto
    }

    /// Whether it asks for any.
    pub(super) fn any(&self) -> bool {
        self.may_grow() || !self.names.is_empty()
    }

    /// Why it asks for an interface, if it does by its name.
    fn asks_for(&self, name: &str) -> Option<String> {
        let flag = self.flag;
        if self.names.iter().any(|asked| asked == name) {
            return Some(format!("named by {flag}"));
        }
        let pattern = self.patterns.iter().find(|pattern| pattern.matches(name))?;
        Some(format!("{flag} {pattern} matches"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_stands_alone_and_a_bad_pattern_is_refused() {
        let parse = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            Interfaces::parse("--interface", &texts)
        };
        for nothing in [&[][..], &[""], &["none"]] {
            assert!(!parse(nothing).unwrap().any(), "{nothing:?}");
        }
        assert!(parse(&["auto"]).unwrap().may_grow());
        assert!(!parse(&["eth0"]).unwrap().may_grow());
        assert_eq!(parse(&["auto", "eth0"]).unwrap().named(), ["eth0"]);
        assert!(parse(&["none", "eth0"]).is_err());
        assert!(parse(&["eth["]).is_err());
    }
}
