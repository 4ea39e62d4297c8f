//! The configuration file: the long flags of a command, as a YAML mapping.
//!
//! ```yaml
//! interface: [eth0, "bond*"]
//! cgroup: /sys/fs/cgroup
//! log-format: json
//! ```
//!
//! A flag on the command line comes first, then its variable in the environment, then the file.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Command;
use serde::Deserialize;

/// The flag that names the file, and its variable.
const FLAG: &str = "config";
const VARIABLE: &str = "SEAWAY_CONFIG";

/// What a file gives a flag.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Switch(bool),
    Number(i64),
    Text(String),
    List(Vec<String>),
}

/// The command, with the file's values as the defaults of the subcommand's flags. `arguments` are
/// those of the process.
pub(crate) fn with_file(command: Command, arguments: &[OsString]) -> Result<Command> {
    let Some(file) = file_of(arguments) else { return Ok(command) };
    let wanted = arguments.iter().skip(1).find_map(|argument| command.find_subcommand(argument.to_str()?));
    // Commands below another one may mean something else by the flag.
    let takes_file =
        |found: &&Command| found.get_arguments().any(|argument| argument.get_long() == Some(FLAG));
    let Some(subcommand) = wanted.filter(takes_file).map(|found| found.get_name().to_owned()) else {
        return Ok(command);
    };
    let values = read(&file).with_context(|| format!("configuration file {}", file.display()))?;
    let mut unknown = None;
    let command = command.mut_subcommand(subcommand, |mut found| {
        for (flag, value) in values {
            let argument = found.get_arguments().find(|argument| argument.get_long() == Some(&flag));
            match argument.map(|argument| argument.get_id().clone()) {
                Some(id) if flag != FLAG => {
                    found = found.mut_arg(id, |argument| argument.default_values(texts(value)));
                }
                _ => unknown = Some(flag),
            }
        }
        found
    });
    if let Some(flag) = unknown {
        bail!("configuration file {}: there is no flag --{flag} that it could set", file.display());
    }
    Ok(command)
}

fn file_of(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        match text.strip_prefix("--").and_then(|flag| flag.strip_prefix(FLAG)) {
            Some("") => return arguments.next().map(PathBuf::from),
            Some(rest) if rest.starts_with('=') => return Some(PathBuf::from(&rest[1..])),
            _ => {}
        }
    }
    env::var_os(VARIABLE).map(PathBuf::from)
}

fn read(file: &Path) -> Result<BTreeMap<String, Value>> {
    let text = fs::read_to_string(file)?;
    let values: Option<BTreeMap<String, Value>> = serde_saphyr::from_str(&text)?;
    Ok(values.unwrap_or_default())
}

fn texts(value: Value) -> Vec<String> {
    match value {
        Value::Switch(on) => vec![on.to_string()],
        Value::Number(number) => vec![number.to_string()],
        Value::Text(text) => vec![text],
        Value::List(texts) => texts,
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    fn command() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let agent = Command::new("agent")
            .arg(flag("config"))
            .arg(flag("interface").action(ArgAction::Append))
            .arg(flag("log").default_value("info"))
            .arg(flag("cleanup").action(ArgAction::SetTrue))
            .arg(flag("slots-max").value_parser(clap::value_parser!(u32)));
        Command::new("seaway").subcommand(agent)
    }

    /// What the agent's flags come to with this file and these arguments.
    fn check(file: &str, arguments: &[&str], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seaway.yaml");
        fs::write(&path, file).unwrap();
        let mut all: Vec<OsString> = vec!["seaway".into(), "agent".into(), "--config".into(), path.into()];
        all.extend(arguments.iter().map(OsString::from));
        let found = match with_file(command(), &all) {
            Err(error) => error.to_string(),
            Ok(command) => {
                let matches = command.get_matches_from(all);
                let agent = matches.subcommand_matches("agent").unwrap();
                let interfaces: Vec<_> =
                    agent.get_many::<String>("interface").into_iter().flatten().collect();
                format!(
                    "{interfaces:?} {} {} {:?}",
                    agent.get_one::<String>("log").unwrap(),
                    agent.get_flag("cleanup"),
                    agent.get_one::<u32>("slots-max")
                )
            }
        };
        assert!(found.contains(expected), "{file}: {found}");
    }

    #[test]
    fn the_file_gives_what_the_command_line_does_not() {
        let all = "interface: [eth0, \"bond*\"]\nlog: debug\ncleanup: true\nslots-max: 4096\n";
        check("", &[], "[] info false None");
        check(all, &[], "[\"eth0\", \"bond*\"] debug true Some(4096)");
        check(all, &["--log", "warn", "--interface", "lo"], "[\"lo\"] warn true Some(4096)");
        check("interface: eth1", &[], "[\"eth1\"] info");
    }

    #[test]
    fn a_command_without_the_flag_has_no_file() {
        let command = command().subcommand(
            Command::new("apf").subcommand(Command::new("serve").arg(Arg::new("config").long("config"))),
        );
        let arguments = ["seaway", "apf", "serve", "--config", "/"].map(OsString::from);
        assert!(with_file(command, &arguments).is_ok());
    }

    #[test]
    fn a_flag_that_is_not_there_is_named() {
        check("intrface: eth0", &[], "there is no flag --intrface");
        check("config: other.yaml", &[], "there is no flag --config");
        check("- eth0", &[], "configuration file");
    }
}
