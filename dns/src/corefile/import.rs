//! What a Corefile takes from elsewhere: snippets, other files and the environment.
//!
//! ```text
//! (shared) {            import shared              forward . {$UPSTREAM}
//!     errors            import custom/*.override
//! }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::Error;
use super::lexer::{self, Words, error};

/// Imports within imports: more are a file that imports itself.
const DEPTH_MAX: usize = 8;
/// Lines of all that is imported together.
const LINES_MAX: usize = 100_000;

/// The lines of a Corefile with what it imports in place, and the files that this came from.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) lines: Vec<Words>,
    /// Folders stand for the files that may come into them.
    pub(super) watched: Vec<PathBuf>,
    snippets: BTreeMap<String, Vec<Words>>,
}

/// Reads a text; files are relative to `dir`.
pub(super) fn expand(text: &str, dir: &Path) -> Result<Whole, Error> {
    let mut whole = Whole::default();
    whole.add(lexer::lines(text)?, dir, 0)?;
    Ok(whole)
}

impl Whole {
    fn add(&mut self, lines: Vec<Words>, dir: &Path, depth: usize) -> Result<(), Error> {
        let mut open = 0_usize;
        let mut lines = lines.into_iter();
        while let Some((number, words)) = lines.next() {
            if self.lines.len() >= LINES_MAX || depth > DEPTH_MAX {
                return Err(error(number, "what is imported is too much, or imports itself"));
            }
            match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                [name, "{"] if open == 0 && name.starts_with('(') && name.ends_with(')') => {
                    let body = snippet(&mut lines, number)?;
                    self.snippets.insert(name[1..name.len() - 1].to_owned(), body);
                }
                ["import", what] => self.import((number, what), dir, depth)?,
                ["import", ..] => return Err(error(number, "import takes one argument: a snippet or files")),
                other => {
                    match other {
                        ["}"] => open = open.saturating_sub(1),
                        [.., "{"] => open += 1,
                        _ => {}
                    }
                    self.lines.push((number, words));
                }
            }
        }
        Ok(())
    }

    /// Puts a snippet, or files, in the place of an `import`; errors in them are on its line.
    fn import(&mut self, (number, what): (usize, &str), dir: &Path, depth: usize) -> Result<(), Error> {
        let here = |lines: Vec<Words>| lines.into_iter().map(|(_, words)| (number, words)).collect();
        if let Some(body) = self.snippets.get(what) {
            return self.add(here(body.clone()), dir, depth + 1);
        }
        for file in self.files(number, &dir.join(what))? {
            let text = std::fs::read_to_string(&file)
                .map_err(|problem| error(number, format!("{} cannot be read: {problem}", file.display())))?;
            let lines = lexer::lines(&text).map_err(|problem| {
                error(number, format!("{}, line {}: {}", file.display(), problem.line, problem.problem))
            })?;
            self.add(here(lines), dir, depth + 1)?;
            self.watched.push(file);
        }
        Ok(())
    }

    /// The files of a path whose last part may have `*` and `?`, in order.
    fn files(&mut self, number: usize, path: &Path) -> Result<Vec<PathBuf>, Error> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.contains(['*', '?']) {
            if path.is_file() {
                return Ok(vec![path.to_owned()]);
            }
            let problem = format!("import: {} is neither a snippet above nor a file", path.display());
            return Err(error(number, problem));
        }
        let pattern = regex::escape(&name).replace(r"\*", ".*").replace(r"\?", ".");
        let pattern =
            Regex::new(&format!("^{pattern}$")).map_err(|_| error(number, "import: a bad pattern"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        self.watched.push(folder.to_owned());
        // Nobody has put a file there yet, or the folder itself.
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let fits = |path: &PathBuf| {
            path.is_file() && path.file_name().is_some_and(|name| pattern.is_match(&name.to_string_lossy()))
        };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).collect();
        files.sort_unstable();
        Ok(files)
    }
}

/// The lines up to the brace that closes a snippet.
fn snippet(lines: &mut impl Iterator<Item = Words>, number: usize) -> Result<Vec<Words>, Error> {
    let mut body = Vec::new();
    let mut open = 1;
    for line in lines {
        match line.1.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["}"] => open -= 1,
            [.., "{"] => open += 1,
            _ => {}
        }
        if open == 0 {
            return Ok(body);
        }
        body.push(line);
    }
    Err(error(number, "a `}` is missing at the end of this snippet"))
}
