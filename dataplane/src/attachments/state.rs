//! What became of an attachment, and when it is tried again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Attachment, Found, Installed, Place, Target};
use crate::attach::Error;
use crate::programs::XDP_LB;

/// First and longest wait before a failed attachment is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// The longest where a driver cannot do XDP: some write into the kernel's log each time.
const RETRY_XDP: Duration = Duration::from_mins(1);

/// What became of an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The program.
    pub program: String,
    /// The interface; none for a program of the cgroup.
    pub interface: Option<String>,
    /// The name of its pin.
    pub pin: String,
    /// Id of the link; 0 where there is none.
    pub link: u32,
    /// Id of the program that runs; 0 where there is none.
    pub program_id: u32,
    /// Why it is not attached, if it is not.
    pub missing: Option<String>,
    /// Packets are translated all the same while it is missing.
    pub served: bool,
}

/// Why an attachment failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// How often it was tried again.
    pub(super) tries: u32,
    /// When it is tried next.
    pub(super) due: Instant,
}

impl Failure {
    pub(super) fn new(error: Error, tries: u32, now: Instant) -> Self {
        let for_good = matches!(error, Error::Refused { program: XDP_LB, .. });
        let longest = if for_good { RETRY_XDP } else { RETRY.1 };
        let wait = RETRY.0.saturating_mul(1 << tries.min(16)).min(longest);
        Self { error, tries, due: now + wait }
    }
}

impl State {
    pub(super) fn new(
        attachment: &Attachment,
        target: Option<Target>,
        found: Option<&Found>,
        failure: Option<&Failure>,
    ) -> Self {
        let found = found.filter(|found| found.target.is_some());
        let missing = match (target, found, failure) {
            (None, None, _) => Some(match &attachment.place {
                Place::Interface(_) => "there is no such interface".to_owned(),
                Place::Cgroup => "there is no such cgroup".to_owned(),
            }),
            (None, Some(_), _) => {
                Some("there is no such interface; the one that had the name keeps its programs".to_owned())
            }
            (Some(_), Some(found), None) if found.target == target => None,
            (Some(_), _, Some(failure)) => Some(told(&failure.error)),
            (Some(_), _, None) => Some("it is about to be attached".to_owned()),
        };
        Self {
            program: attachment.program.to_owned(),
            interface: attachment.on().map(str::to_owned),
            pin: attachment.pin(),
            link: found.map_or(0, |found| found.link),
            program_id: found.map_or(0, |found| found.program),
            missing,
            served: found.is_some() || (attachment.program == XDP_LB && target.is_some()),
        }
    }

    /// Why it is not attached, as the agent knew, or as its pin says by now.
    pub fn missing_by(&self, installed: &Installed) -> Option<String> {
        if self.missing.is_some() {
            return self.missing.clone();
        }
        match installed.get(&self.pin) {
            None => Some("its pin was removed".to_owned()),
            // A filter is seen in its own network namespace only.
            Some(_) if self.link == 0 => None,
            Some(found) if found.link != self.link || found.target.is_none() => {
                Some("its link was detached".to_owned())
            }
            Some(found) if found.program != self.program_id => {
                Some(format!("another program (id {}) was put in its place", found.program))
            }
            Some(_) => None,
        }
    }
}

/// What is missing, a line for each place and cause: `tc_egress, tc_ingress are not attached to interface
/// eth0: …`.
pub fn lines<'a>(missing: impl IntoIterator<Item = (&'a State, String)>) -> Vec<String> {
    let mut programs: BTreeMap<(Option<&str>, String), Vec<&str>> = BTreeMap::new();
    for (state, cause) in missing {
        let slower = if state.served && state.program == XDP_LB && state.link == 0 {
            "; its packets are served later, in the network stack"
        } else {
            ""
        };
        programs.entry((state.interface.as_deref(), cause + slower)).or_default().push(&state.program);
    }
    let line = |((interface, cause), programs): ((Option<&str>, String), Vec<&str>)| {
        let place = interface.map_or("the cgroup".to_owned(), |name| format!("interface {name}"));
        let verb = if programs.len() == 1 { "is" } else { "are" };
        format!("{} {verb} not attached to {place}: {cause}", programs.join(", "))
    };
    programs.into_iter().map(line).collect()
}

/// The error with its causes, without what is said anyway.
fn told(error: &Error) -> String {
    if let Error::Obstructed { obstacle, .. } = error {
        return obstacle.clone();
    }
    let first: Option<&dyn std::error::Error> = Some(error);
    let mut texts: Vec<String> =
        std::iter::successors(first, |error| error.source()).map(ToString::to_string).collect();
    if matches!(error, Error::Refused { .. }) && texts.len() > 1 {
        texts.remove(0);
    }
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Option<Target> = Some(Target::Interface(3));

    fn state(
        program: &'static str,
        target: Option<Target>,
        found: Option<Option<Target>>,
        fails: bool,
    ) -> State {
        let attachment = Attachment::interface("eth0", program);
        let found = found.map(|target| Found { attachment: attachment.clone(), link: 7, program: 9, target });
        let failure = fails.then(|| Failure::new(Error::NoInterface("eth0".to_owned()), 0, Instant::now()));
        State::new(&attachment, target, found.as_ref(), failure.as_ref())
    }

    fn check(state: &State, missing: Option<&str>, served: bool) {
        assert_eq!(state.missing.is_some(), missing.is_some(), "{state:?}");
        assert!(state.missing.iter().all(|cause| cause.contains(missing.unwrap_or_default())), "{state:?}");
        assert_eq!(state.served, served, "{state:?}");
    }

    #[test]
    fn attachment_is_missing_until_its_link_has_the_target_that_is_wanted() {
        check(&state("tc_ingress", AT, Some(AT), false), None, true);
        check(&state("tc_ingress", AT, None, false), Some("about to be"), false);
        check(&state("tc_ingress", AT, Some(None), false), Some("about to be"), false);
        check(&state("tc_ingress", AT, None, true), Some("no network interface"), false);
        check(&state("xdp_lb", AT, None, true), Some("no network interface"), true);
        check(&state("xdp_lb", None, None, false), Some("no such interface"), false);
        check(&state("tc_ingress", None, Some(AT), false), Some("the one that had the name"), true);
    }

    #[test]
    fn what_its_pin_says_by_now_counts() {
        let said = state("tc_ingress", AT, Some(AT), false);
        let pinned = |link, program, target| {
            let attachment = Attachment::interface("eth0", "tc_ingress");
            Installed::from([(attachment.pin(), Found { attachment, link, program, target })])
        };
        let cause = |installed: &Installed| said.missing_by(installed).unwrap_or_default();
        assert_eq!(cause(&pinned(7, 9, AT)), "");
        assert_eq!(cause(&Installed::new()), "its pin was removed");
        assert_eq!(cause(&pinned(8, 9, AT)), "its link was detached");
        assert_eq!(cause(&pinned(7, 9, None)), "its link was detached");
        assert_eq!(cause(&pinned(7, 8, AT)), "another program (id 8) was put in its place");
    }

    #[test]
    fn programs_with_one_cause_are_told_in_one_line() {
        let (ingress, egress) = (state("tc_ingress", AT, None, true), state("tc_egress", AT, None, true));
        let xdp = state("xdp_lb", AT, None, true);
        let all = [&ingress, &egress, &xdp].map(|state| (state, "no way".to_owned()));
        assert_eq!(
            lines(all),
            [
                "tc_ingress, tc_egress are not attached to interface eth0: no way",
                "xdp_lb is not attached to interface eth0: no way; its packets are served later, in the network \
                 stack",
            ]
        );
    }

    #[test]
    fn waits_grow_up_to_a_limit() {
        let now = Instant::now();
        let wait = |error, tries| Failure::new(error, tries, now).due - now;
        let other = || Error::NoInterface(String::new());
        assert_eq!([0, 1, 2].map(|tries| wait(other(), tries).as_millis()), [100, 200, 400]);
        assert_eq!(wait(other(), u32::MAX), RETRY.1);
        let target = String::new();
        let xdp = Error::Refused { program: XDP_LB, target, source: "cannot".into() };
        assert_eq!(wait(xdp, u32::MAX), RETRY_XDP);
    }
}
