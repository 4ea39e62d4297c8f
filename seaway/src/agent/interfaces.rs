//! Which interfaces are asked for, by name or by pattern.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use glob::Pattern;

/// Names and patterns of interfaces.
#[derive(Clone, Debug)]
pub(super) struct Interfaces {
    names: Vec<String>,
    patterns: Vec<Pattern>,
}

impl Interfaces {
    /// A text with one of `*?[` is a pattern.
    pub(super) fn parse(texts: &[String]) -> Result<Self> {
        let (patterns, names): (Vec<&String>, Vec<&String>) =
            texts.iter().partition(|text| text.contains(['*', '?', '[']));
        let parse = |text: &String| Pattern::new(text).with_context(|| format!("--interface {text}"));
        let patterns = patterns.into_iter().map(parse).collect::<Result<_>>()?;
        Ok(Self { names: names.into_iter().cloned().collect(), patterns })
    }

    /// Those that are asked for by name and have to be there.
    pub(super) fn named(&self) -> &[String] {
        &self.names
    }

    /// Whether interfaces that come later may be asked for.
    pub(super) fn may_grow(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// Those that are asked for by name, and those of a pattern that are there now, in order.
    pub(super) fn present(&self) -> Result<BTreeSet<String>> {
        let mut present: BTreeSet<String> = self.names.iter().cloned().collect();
        if self.may_grow() {
            let all = nix::net::if_::if_nameindex().context("cannot list the network interfaces")?;
            let names = all.iter().map(|entry| entry.name().to_string_lossy().into_owned());
            present.extend(names.filter(|name| self.patterns.iter().any(|pattern| pattern.matches(name))));
        }
        Ok(present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str], expected: &[&str]) {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        let present = Interfaces::parse(&texts).unwrap().present().unwrap();
        assert!(present.iter().eq(expected), "{texts:?}: {present:?}");
    }

    #[test]
    fn a_pattern_means_what_is_there_and_a_name_itself() {
        check(&["l[o]"], &["lo"]);
        check(&["no-such-*"], &[]);
        check(&["no-such-0", "l?"], &["lo", "no-such-0"]);
        assert!(Interfaces::parse(&["eth[".into()]).is_err());
    }
}
