//! The `acl` and `transfer` plugins' options.

use ipnet::IpNet;

use super::lexer::Line;
use super::{Error, zones};
use crate::name::Zone;
use crate::plugin::acl::{Acl, Policy, Verdict};
use crate::plugin::transfer::Transfer;
use crate::wire::kind;

/// Reads `acl [ZONES...] { ACTION [type QTYPE...] [net SOURCE...] }`.
pub(super) fn parse(line: &Line, of_block: &[Zone]) -> Result<Acl, Error> {
    let zones = zones::or(line, line.arguments(), of_block)?;
    let policies = line.body.iter().map(policy).collect::<Result<Vec<_>, _>>()?;
    if policies.is_empty() {
        return Err(line.error("it takes a block with at least one of allow, block, drop and filter"));
    }
    Ok(Acl { zones, policies })
}

fn policy(line: &Line) -> Result<Policy, Error> {
    line.bare()?;
    let verdict = match line.word() {
        "allow" => Verdict::Allow,
        "block" => Verdict::Block,
        "drop" => Verdict::Drop,
        "filter" => Verdict::Filter,
        _ => return Err(line.unknown("allow, block, drop and filter")),
    };
    let mut policy = Policy { verdict, kinds: Vec::new(), sources: Vec::new() };
    let mut section = "";
    for word in line.arguments() {
        match (section, word.as_str()) {
            (_, "type" | "net") => section = word,
            ("type" | "net", "*") => {}
            ("type", word) => {
                let known = kind::parse(word).ok_or_else(|| line.error(format!("{word:?} is not a type")))?;
                policy.kinds.push(known);
            }
            ("net", word) => policy.sources.push(range(line, word)?),
            (_, other) => return Err(line.error(format!("{other:?} stands where type or net has to"))),
        }
    }
    Ok(policy)
}

/// Reads `transfer [ZONES...] { to ADDRESS... }`.
pub(super) fn transfer(line: &Line, of_block: &[Zone]) -> Result<Transfer, Error> {
    let zones = zones::or(line, line.arguments(), of_block)?;
    let (mut to, mut all, mut some) = (Vec::new(), false, false);
    for option in &line.body {
        option.bare()?;
        if option.word() != "to" {
            return Err(option.unknown("to"));
        }
        for word in option.arguments() {
            some = true;
            match word.as_str() {
                "*" => all = true,
                word => to.push(range(option, word)?),
            }
        }
    }
    if !some {
        return Err(line.error("it takes a block with `to` and who may have the zones, or *"));
    }
    Ok(Transfer { zones, to: if all { Vec::new() } else { to } })
}

/// An address, or a range of them.
fn range(line: &Line, word: &str) -> Result<IpNet, Error> {
    let address = word.parse::<std::net::IpAddr>().map(IpNet::from);
    let range = address.or_else(|_| word.parse::<IpNet>());
    range.map_err(|_| line.error(format!("{word:?} is neither an address nor a range of them")))
}
