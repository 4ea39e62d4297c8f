//! Documents of a YAML stream, told apart before parsing so that one that is broken hides no other.

/// One document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// Its number in the file, from 1.
    pub(super) number: usize,
    /// The line of the file at which `text` begins, from 1.
    pub(super) first_line: u64,
    /// The line of `text` at which its content begins, from 1.
    pub(super) content_line: u64,
    /// Its text, from its `---` on.
    pub(super) text: &'a str,
}

/// The documents that hold anything, in order.
///
/// A line that begins with `---` starts a document wherever it stands: YAML 1.2 (section 9.1.2)
/// forbids it inside one. JSON has no such lines and is one document.
pub(super) fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let mut current = Document { number: 1, first_line: 1, content_line: 1, text: "" };
    let mut start = 0;
    let mut end = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if is_separator(line) {
            current.text = &text[start..end];
            // What stands before the first separator is a document only if it holds something.
            let counts = is_separator(current.text) || !is_blank(current.text);
            documents.push(current);
            let number = current.number + usize::from(counts);
            current = Document { number, first_line: index as u64 + 1, ..current };
            start = end;
        }
        end += line.len();
    }
    current.text = &text[start..];
    documents.push(current);
    documents.retain_mut(|document| {
        let content = document.text.lines().position(|line| !is_blank(line));
        document.content_line = content.map_or(1, |index| index as u64 + 1);
        content.is_some()
    });
    documents
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Nothing but comments, directives and markers.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = if is_separator(line) { &line[3..] } else { line };
        let directive = line.starts_with('%');
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || directive || line == "..."
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, u64, &str)]) {
        let found = documents(text).into_iter().map(|found| (found.number, found.first_line, found.text));
        let found: Vec<_> = found.collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn documents_keep_their_number_and_line() {
        check("", &[]);
        check("a: 1\n", &[(1, 1, "a: 1\n")]);
        check("a: 1\n---\nb: 2\n", &[(1, 1, "a: 1\n"), (2, 2, "---\nb: 2\n")]);
        check("---\na: 1\n---\nb: 2", &[(1, 1, "---\na: 1\n"), (2, 3, "---\nb: 2")]);
        check("# c\n\n---\na: 1\n", &[(1, 3, "---\na: 1\n")]);
        check("%YAML 1.2\n---\na: 1\n...\n", &[(1, 2, "---\na: 1\n...\n")]);
        check("\u{feff}a: 1\r\n---\r\nb: 2\r\n", &[(1, 1, "a: 1\r\n"), (2, 2, "---\r\nb: 2\r\n")]);
    }

    #[test]
    fn the_content_begins_after_comments() {
        let lines = documents("# a\n\na: 1\n---\n# b\nb: 2\n").into_iter();
        let lines: Vec<_> = lines.map(|document| (document.first_line, document.content_line)).collect();
        assert_eq!(lines, [(1, 3), (4, 3)]);
    }

    #[test]
    fn blank_documents_count_but_are_not_returned() {
        check("a: 1\n---\n---\n# only this\n---\nb: 2\n", &[(1, 1, "a: 1\n"), (4, 5, "---\nb: 2\n")]);
        check("---\n---\na: 1\n", &[(2, 2, "---\na: 1\n")]);
    }

    #[test]
    fn a_separator_is_a_line_of_its_own() {
        check("--- {a: 1}\n--- # note\nb: 2\n", &[(1, 1, "--- {a: 1}\n"), (2, 2, "--- # note\nb: 2\n")]);
        check("a: |\n  ---\n  x\n", &[(1, 1, "a: |\n  ---\n  x\n")]);
        check("---x: 1\n", &[(1, 1, "---x: 1\n")]);
    }
}
