//! Field and label selectors, as far as flow control needs them.

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldTerm {
    field: String,
    equal: bool,
    value: String,
}

/// The value that a field selector requires a field to have, if it requires one.
#[must_use]
pub fn requires_exact(selector: &str, field: &str) -> Option<String> {
    let terms = field_terms(selector)?;
    terms.into_iter().find(|term| term.field == field && term.equal).map(|term| term.value)
}

/// The terms of a field selector; `None` if it does not parse.
pub(super) fn field_terms(selector: &str) -> Option<Vec<FieldTerm>> {
    split_escaped(selector)
        .into_iter()
        .filter(|term| !term.is_empty())
        .map(|term| field_term(&term))
        .collect()
}

/// Whether a label selector is of the form the API accepts. Names and values are not checked further.
pub(super) fn is_label_selector(selector: &str) -> bool {
    let mut depth = 0;
    let mut term = String::new();
    let mut terms = Vec::new();
    for letter in selector.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(std::mem::take(&mut term));
                continue;
            }
            _ => {}
        }
        if !(0..=1).contains(&depth) {
            return false;
        }
        term.push(letter);
    }
    terms.push(term);
    let empty = terms.len() == 1 && terms[0].trim().is_empty();
    depth == 0 && (empty || terms.iter().all(|term| is_label_term(term.trim())))
}

fn is_label_term(term: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
    };
    let is_value = |word: &str| word.is_empty() || is_word(word);
    if let Some((key, set)) = term.split_once('(') {
        let mut words = key.split_whitespace();
        let (key, operator) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let values = set.strip_suffix(')');
        return is_word(key)
            && matches!(operator, "in" | "notin")
            && words.next().is_none()
            && values.is_some_and(|values| values.split(',').all(|value| is_value(value.trim())));
    }
    for operator in ["!=", "==", "=", ">", "<"] {
        if let Some((key, value)) = term.split_once(operator) {
            return is_word(key.trim()) && is_value(value.trim());
        }
    }
    is_word(term.strip_prefix('!').unwrap_or(term).trim())
}

fn field_term(term: &str) -> Option<FieldTerm> {
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some(at) = find_unescaped(term, operator) {
            let value = unescape(&term[at + operator.len()..])?;
            return Some(FieldTerm { field: term[..at].to_owned(), equal, value });
        }
    }
    None
}

/// Splits at commas that no backslash precedes.
fn split_escaped(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for letter in text.chars() {
        if letter == ',' && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = letter == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts
}

fn find_unescaped(text: &str, operator: &str) -> Option<usize> {
    text.match_indices(operator).map(|(at, _)| at).find(|at| !text[..*at].ends_with('\\'))
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.push(letters.next().filter(|c| matches!(c, '\\' | ',' | '='))?),
            '=' => return None,
            _ => plain.push(letter),
        }
    }
    Some(plain)
}
