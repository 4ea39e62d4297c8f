//! The steps from the attachments that are there to those that are wanted. Pure.
//!
//! A link that has the right target is kept, whatever its pin is called: an interface that was renamed loses
//! nothing. Links that go are attached to something else than those that come.

use std::collections::{BTreeMap, BTreeSet};

use super::{Attachment, Installed, Target, Wanted};

/// Ends the name of a pin on its way to another one. No name that is escaped ends like this.
const ASIDE: char = '%';

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A pin gets another name.
    Rename {
        /// Its name now.
        from: String,
        /// Its name then.
        to: String,
    },
    /// The link behind the attachment's pin runs our program again.
    Update(Attachment),
    /// A pin goes, and its link with it.
    Remove(String),
    /// A new link.
    Attach(Attachment, Target),
}

/// Plans the steps. `programs` are the ids of the programs that shall run.
pub fn plan(wanted: &Wanted, installed: &Installed, programs: &BTreeMap<&'static str, u32>) -> Vec<Step> {
    let kept = keep(wanted, installed);
    let by_pin: BTreeSet<&str> = kept.values().copied().collect();
    let (mut updates, mut aside, mut back, mut attach) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (attachment, target) in wanted {
        let pin = attachment.pin();
        let Some(from) = kept.get(attachment) else {
            attach.extend(target.map(|target| Step::Attach(attachment.clone(), target)));
            continue;
        };
        if *from != pin {
            let between = format!("{pin}{ASIDE}");
            aside.push(Step::Rename { from: (*from).to_owned(), to: between.clone() });
            back.push(Step::Rename { from: between, to: pin });
        }
        // Without a target its interface is called otherwise now: it works on as it is.
        if Some(&installed[*from].program) != programs.get(attachment.program) {
            updates.push(Step::Update(attachment.clone()));
        }
    }
    let removed = installed.keys().filter(|pin| !by_pin.contains(pin.as_str()));
    let removed = removed.cloned().map(Step::Remove);
    aside.into_iter().chain(removed).chain(back).chain(updates).chain(attach).collect()
}

/// The pin that serves each attachment, of those that are there.
fn keep<'a>(wanted: &'a Wanted, installed: &'a Installed) -> BTreeMap<&'a Attachment, &'a str> {
    let mut kept = BTreeMap::new();
    let mut used = BTreeSet::new();
    // Those at their places first, then those at the places of others, then those whose interface is
    // called otherwise and is wanted by no other name.
    for (attachment, target) in wanted {
        if let Some((pin, found)) = installed.get_key_value(&attachment.pin())
            && target.is_some()
            && found.target == *target
        {
            used.insert(pin.as_str());
            kept.insert(attachment, pin.as_str());
        }
    }
    for (attachment, target) in wanted.iter().filter(|(_, target)| target.is_some()) {
        if kept.contains_key(attachment) {
            continue;
        }
        let serves = installed.iter().find(|(pin, found)| {
            found.target == *target
                && found.attachment.program == attachment.program
                && !used.contains(pin.as_str())
        });
        if let Some((pin, _)) = serves {
            used.insert(pin);
            kept.insert(attachment, pin);
        }
    }
    for (attachment, target) in wanted {
        if let Some((pin, found)) = installed.get_key_value(&attachment.pin())
            && target.is_none()
            && found.target.is_some()
            && used.insert(pin)
        {
            kept.insert(attachment, pin);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::Found;
    use super::*;

    /// `tc_ingress` on interfaces as `NAME=INDEX`, `NAME=-` if there is none.
    fn wants(text: &str) -> Wanted {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        let target = |text: &str| text.parse().ok().map(Target::Interface);
        pairs.map(|(name, at)| (Attachment::interface(name, "tc_ingress"), target(at))).collect()
    }

    /// Pins of `tc_ingress` links as `NAME=INDEX`, with `!` behind it if they run another program.
    fn has(text: &str) -> Installed {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        let found = pairs.map(|(name, at)| {
            let pin = format!("tc_ingress-{name}");
            let program = if at.ends_with('!') { 99 } else { 1 };
            let target = at.trim_end_matches('!').parse().ok().map(Target::Interface);
            let attachment = Attachment::of_pin(&pin).unwrap();
            (pin, Found { attachment, link: 5, program, target })
        });
        found.collect()
    }

    fn check(wanted: &str, installed: &str, expected: &str) {
        let programs = BTreeMap::from([("tc_ingress", 1)]);
        let name = |pin: &str| pin.strip_prefix("tc_ingress-").unwrap().to_owned();
        let text = |step: &Step| match step {
            Step::Rename { from, to } => format!("rename {} {}", name(from), name(to)),
            Step::Update(at) => format!("update {}", at.on().unwrap()),
            Step::Remove(pin) => format!("remove {}", name(pin)),
            Step::Attach(at, Target::Interface(index)) => format!("attach {}={index}", at.on().unwrap()),
            Step::Attach(_, Target::Cgroup(_)) => panic!("{step:?}"),
        };
        let steps = plan(&wants(wanted), &has(installed), &programs);
        let steps: Vec<String> = steps.iter().map(text).collect();
        assert_eq!(steps.join("; "), expected, "{wanted} over {installed}");
    }

    #[test]
    fn what_is_as_wanted_stays() {
        check("", "", "");
        check("a=1 b.c=2", "a=1 b%2ec=2", "");
    }

    #[test]
    fn what_lacks_is_attached_and_what_is_not_wanted_goes() {
        check("a=1 b=2", "a=1", "attach b=2");
        check("a=1", "a=1 b=2", "remove b");
        check("", "a=-", "remove a");
    }

    #[test]
    fn program_of_somebody_else_makes_way_for_ours() {
        check("a=1", "a=1!", "update a");
        check("b=1", "a=1!", "rename a b%; rename b% b; update b");
    }

    #[test]
    fn interface_made_again_under_its_name_is_attached_anew() {
        check("a=7", "a=1", "remove a; attach a=7");
        check("a=7", "a=-", "remove a; attach a=7");
    }

    #[test]
    fn interface_that_is_gone_leaves_nothing() {
        check("a=-", "", "");
        check("a=-", "a=-", "remove a");
    }

    #[test]
    fn link_of_a_renamed_interface_is_kept() {
        check("b=1", "a=1", "rename a b%; rename b% b");
        check("a=2 b=1", "a=1 b=2", "rename b a%; rename a b%; rename a% a; rename b% b");
        // Somebody ended in the middle of it.
        check("a=2 b=1", "a%=2 b%=1", "rename a% a%; rename b% b%; rename a% a; rename b% b");
        // Asked for by name, and called otherwise by now: it works on until the name is used again.
        check("a=-", "a=1", "");
        check("a=-", "a=1!", "update a");
        check("a=-", "a=-", "remove a");
        check("a=2", "a=1", "remove a; attach a=2");
        check("a=- b=1", "a=1", "rename a b%; rename b% b");
    }

    #[test]
    fn pin_of_an_earlier_build_is_adopted() {
        check("a%b=1", "a%b=1", "rename a%b a%25b%; rename a%25b% a%25b");
    }

    #[test]
    fn second_link_on_one_target_goes() {
        check("a=1", "a=1 b=1", "remove b");
    }
}
