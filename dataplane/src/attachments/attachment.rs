//! One program at one place, and the name of the pin that keeps it there.
//!
//! The BPF file system takes no dots in names, which interfaces may have (`eth0.100`): they are escaped,
//! as is the escape character. All other names are those of the interfaces themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::programs::{SOCKET_HOOKS, TC, XDP_LB};

/// What stands for a dot, and for itself.
const ESCAPES: [(char, &str); 2] = [('%', "%25"), ('.', "%2e")];

/// A program at a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// Where.
    pub place: Place,
    /// The program's name.
    pub program: &'static str,
}

/// Where a program is attached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The cgroup whose sockets are translated.
    Cgroup,
    /// An interface, by name.
    Interface(String),
}

/// The interface or cgroup behind a name, as the kernel numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Index of the interface.
    Interface(u32),
    /// Id of the cgroup.
    Cgroup(u64),
}

/// What a pin in the folder of links holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What its name says.
    pub attachment: Attachment,
    /// Id of the link; 0 where a filter takes its place.
    pub link: u32,
    /// Id of the program behind it.
    pub program: u32,
    /// What it is attached to; `None` if it is detached, or is not what its name says.
    pub target: Option<Target>,
}

/// What is wanted, with its target where there is one.
pub type Wanted = BTreeMap<Attachment, Option<Target>>;

/// What is there, by pin.
pub type Installed = BTreeMap<String, Found>;

impl Attachment {
    /// Of a program to an interface.
    pub fn interface(name: &str, program: &'static str) -> Self {
        Self { place: Place::Interface(name.to_owned()), program }
    }

    /// Of a program to the cgroup.
    pub fn cgroup(program: &'static str) -> Self {
        Self { place: Place::Cgroup, program }
    }

    /// The interface's name.
    pub fn on(&self) -> Option<&str> {
        match &self.place {
            Place::Cgroup => None,
            Place::Interface(name) => Some(name),
        }
    }

    /// Whether the interface is served without it: the programs in the network stack do the work of XDP.
    pub fn can_be_missed(&self) -> bool {
        self.program == XDP_LB
    }

    /// The name of its pin.
    pub fn pin(&self) -> String {
        match &self.place {
            Place::Cgroup => self.program.to_owned(),
            Place::Interface(name) => format!("{}-{}", self.program, escape(name)),
        }
    }

    /// What the name of a pin says; `None` if it is none of ours. Names that no build has escaped count as
    /// they are.
    pub fn of_pin(pin: &str) -> Option<Self> {
        let Some((program, interface)) = pin.split_once('-') else {
            let program = SOCKET_HOOKS.into_iter().find(|name| *name == pin)?;
            return Some(Self::cgroup(program));
        };
        let program = TC.into_iter().chain([XDP_LB]).find(|name| *name == program)?;
        Some(Self::interface(&unescape(interface), program))
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Cgroup => f.write_str(self.program),
            Place::Interface(name) => write!(f, "{}-{name}", self.program),
        }
    }
}

/// What is wanted on interfaces that packets from outside arrive on, on those of pods, and on a cgroup.
/// `target` tells what is behind an interface's name.
pub fn wanted(
    interfaces: &BTreeSet<String>,
    pods: &BTreeSet<String>,
    cgroup: Option<Option<Target>>,
    target: impl Fn(&str) -> Option<Target>,
) -> Wanted {
    let mut wanted = Wanted::new();
    for name in interfaces.union(pods) {
        let xdp = interfaces.contains(name).then_some(XDP_LB);
        let target = target(name);
        wanted
            .extend(TC.into_iter().chain(xdp).map(|program| (Attachment::interface(name, program), target)));
    }
    if let Some(target) = cgroup {
        wanted.extend(SOCKET_HOOKS.map(|program| (Attachment::cgroup(program), target)));
    }
    wanted
}

fn escape(name: &str) -> String {
    let escaped = |character: char| ESCAPES.iter().find(|(from, _)| *from == character);
    name.chars().fold(String::new(), |text, character| match escaped(character) {
        Some((_, to)) => text + to,
        None => text + character.encode_utf8(&mut [0; 4]),
    })
}

fn unescape(text: &str) -> String {
    let plain = ESCAPES.iter().rev().fold(text.to_owned(), |text, (to, from)| {
        // The escape character comes last: what it stands for is not looked at again.
        text.replace(from, to.encode_utf8(&mut [0; 4]))
    });
    if escape(&plain) == text { plain } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(interface: &str, pin: &str) {
        let attachment = Attachment::interface(interface, TC[0]);
        assert_eq!(attachment.pin(), pin);
        assert_eq!(Attachment::of_pin(pin), Some(attachment));
        assert!(!pin.contains('.') && pin.len() <= 255);
    }

    #[test]
    fn pin_says_the_interface_whatever_its_name_is() {
        check("eth0", "tc_ingress-eth0");
        check("eth0.100", "tc_ingress-eth0%2e100");
        check("a-b", "tc_ingress-a-b");
        check("%2e", "tc_ingress-%252e");
        check("%25", "tc_ingress-%2525");
        check(".............ab", &format!("tc_ingress-{}ab", "%2e".repeat(13)));
        for hook in SOCKET_HOOKS {
            assert_eq!(Attachment::of_pin(hook), Some(Attachment::cgroup(hook)));
        }
    }

    #[test]
    fn pin_of_an_earlier_build_says_the_interface_as_it_is() {
        for interface in ["a%b", "a%", "%2", "%2g"] {
            let pin = format!("xdp_lb-{interface}");
            assert_eq!(Attachment::of_pin(&pin), Some(Attachment::interface(interface, XDP_LB)));
        }
    }

    #[test]
    fn pin_of_something_else_says_nothing() {
        for pin in ["junk-eth0", "sock_connect4-eth0", "tc_ingress", "xdp_lb", ""] {
            assert_eq!(Attachment::of_pin(pin), None, "{pin}");
        }
    }
}
