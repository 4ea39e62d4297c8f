//! Label selectors, as Kubernetes writes them: `app=web,tier in (a, b),!old`.

use seaway_cluster::Labels;

/// Requirements that all have to be met; without any, everything fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    /// `None`: any value will do.
    values: Option<Vec<String>>,
    negated: bool,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// The part that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let brace = rest.find('(').unwrap_or(usize::MAX);
            let comma = rest.find(',').unwrap_or(rest.len());
            let end = match rest.find(')') {
                Some(close) if brace < comma => {
                    rest[close..].find(',').map_or(rest.len(), |comma| close + comma)
                }
                _ => comma,
            };
            let part = rest[..end].trim();
            requirements.push(Requirement::parse(part).ok_or_else(|| part.to_owned())?);
            rest = rest[end..].trim_start_matches(',').trim();
        }
        Ok(Self(requirements))
    }

    /// Whether labels meet all requirements.
    pub fn fits(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(requirement.key.as_str());
            let met = match &requirement.values {
                None => value.is_some(),
                Some(values) => value.is_some_and(|value| values.iter().any(|wanted| **wanted == **value)),
            };
            met != requirement.negated
        })
    }
}

impl Requirement {
    fn parse(text: &str) -> Option<Self> {
        let of = |key: &str, values: Option<Vec<String>>, negated| {
            let key = key.trim().to_owned();
            let sound = !key.is_empty() && !key.contains(char::is_whitespace);
            sound.then_some(Self { key, values, negated })
        };
        let value = |value: &str| Some(vec![value.trim().to_owned()]);
        if let Some((key, wanted)) = text.split_once("!=") {
            return of(key, value(wanted), true);
        }
        if let Some((key, wanted)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return of(key, value(wanted), false);
        }
        if let Some((front, list)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            let values = list.split(',').map(|value| value.trim().to_owned()).collect();
            let (key, word) = front.trim().rsplit_once(char::is_whitespace)?;
            return match word {
                "in" => of(key, Some(values), false),
                "notin" => of(key, Some(values), true),
                _ => None,
            };
        }
        match text.strip_prefix('!') {
            Some(key) => of(key, None, true),
            None => of(text, None, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, expected: bool) {
        let labels = [("app", "web"), ("tier", "b")].map(|(key, value)| (key.into(), value.into()));
        let labels = labels.into_iter().collect();
        assert_eq!(Selector::parse(selector).unwrap().fits(&labels), expected, "{selector}");
    }

    #[test]
    fn all_requirements_have_to_be_met() {
        check("", true);
        check("app=web", true);
        check("app==web,tier in (a, b)", true);
        check("tier in (a,b),app", true);
        check("app=db", false);
        check("app!=db,!old", true);
        check("!app", false);
        check("tier notin (b)", false);
        check("missing", false);
    }

    #[test]
    fn what_is_no_requirement_is_named() {
        for text in ["a b", "=x", "a within (b)", "a,b c"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
