//! Scripts: manifests in, dumps of the maps out, on any maps.
//!
//! A line that starts with `> ` is a step, the lines after it are its text. The text of `dump` and
//! `outcome` is what is expected, and what `SEAWAY_BLESS=1` writes anew.
//!
//! | step | does |
//! |---|---|
//! | `# …` | is a remark |
//! | `limits services=1 backends=2 slots=4 frontends=1` | makes maps of these sizes; first, if at all |
//! | `apply NAME` | puts the manifest NAME with the text, and hands over the facts of all manifests |
//! | `delete NAME` | removes that manifest, and hands over the facts |
//! | `nothing` | hands over a snapshot without any object |
//! | `audit` | compares the maps with the model |
//! | `restart` | starts again from the maps, with the same facts |
//! | `fail N` | lets one map operation in N fail from now on; 0 is none |
//! | `wait N` | lets N milliseconds pass, and tries again what is due |
//! | `outcome` | shows what came of the steps since the last one |
//! | `dump` | shows the maps |

mod run;

use std::{env, fs, path::Path};

use seaway_common::Capacities;
use seaway_dataplane::Maps;

use crate::MemoryMaps;
use run::Run;

/// A parsed script.
#[derive(Clone, Debug)]
pub struct Script {
    head: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    command: String,
    text: String,
}

impl Script {
    /// Reads the script in `path`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut script = Self { head: String::new(), steps: Vec::new() };
        for line in text.lines() {
            match (line.strip_prefix("> "), script.steps.last_mut()) {
                (Some(command), _) => {
                    script.steps.push(Step { command: command.to_owned(), text: String::new() });
                }
                (None, Some(step)) => step.text += &format!("{line}\n"),
                (None, None) => script.head += &format!("{line}\n"),
            }
        }
        script
    }

    /// How much the maps have to hold.
    ///
    /// # Panics
    /// When a limit is not one.
    #[must_use]
    pub fn capacities(&self) -> Capacities {
        let mut capacities = MemoryMaps::CAPACITIES;
        let limits = self.steps.first().and_then(|step| step.command.strip_prefix("limits "));
        for (name, value) in
            limits.iter().flat_map(|line| line.split(' ')).filter_map(|pair| pair.split_once('='))
        {
            let value = value.parse().unwrap_or_else(|error| panic!("limit {name}: {error}"));
            match name {
                "frontends" => capacities.frontends = value,
                "services" => capacities.services = value,
                "backends" => capacities.backends = value,
                "slots" => capacities.slots = value,
                _ => panic!("there is no limit {name}"),
            }
        }
        capacities
    }

    /// Runs the script on the maps that `open` returns, now and after every restart, and returns
    /// it with what came out.
    ///
    /// # Panics
    /// When a step is not one, a manifest is unsound, or a failure does not go away.
    pub fn run<M: Maps>(&self, open: impl FnMut() -> M) -> String {
        let mut run = Run::new(open);
        let mut output = self.head.clone();
        for Step { command, text } in &self.steps {
            let shown = run.step(command, text).unwrap_or_else(|| text.clone());
            output += &format!("> {command}\n{shown}");
        }
        output
    }
}

/// Compares a blessed file with what came out; with `SEAWAY_BLESS=1`, replaces it.
///
/// # Panics
/// When they differ.
pub fn bless(path: &Path, actual: &str) {
    if env::var_os("SEAWAY_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(path, actual).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return;
    }
    let at = expected.lines().zip(actual.lines()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| text.lines().skip(at).take(12).collect::<Vec<_>>().join("\n");
    panic!(
        "{}, line {}: expected\n{}\nfound\n{}\nIf that is right, run the test with SEAWAY_BLESS=1.",
        path.display(),
        at + 1,
        from(&expected),
        from(actual)
    );
}
