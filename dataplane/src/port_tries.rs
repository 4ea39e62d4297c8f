//! How many source ports were taken by others before a flow got the one that it has.
//!
//! The programs count nothing of it: which ports they try follows from the flow's key, so the entry tells.

use seaway_common::{Config, FLOW_DSR, FLOW_FORWARD, FlowKey, FlowValue, hash_flow};

/// The programs try this many ports, and then refuse.
pub const TRIES: u32 = 32;

/// Ports that were tried in vain; none for an entry that claimed no port, or under other limits.
pub fn in_vain(key: &FlowKey, value: &FlowValue, config: &Config) -> Option<u32> {
    if value.state & FLOW_FORWARD == 0 || value.state & FLOW_DSR != 0 {
        return None;
    }
    let (first, last) = (u32::from(config.snat_first), u32::from(config.snat_last));
    let ports = last.saturating_sub(first) + 1;
    let (own, found) = (u32::from(key.sport.get()), u32::from(value.to.sport.get()));
    let start = hash_flow(key) % ports;
    let keeps = value.to.src == key.src || (first..=last).contains(&own);
    let tried = |tries: u32| match tries {
        0 if keeps => own,
        tries => first + (start + tries * tries) % ports,
    };
    (0..TRIES).find(|tries| tried(*tries) == found)
}

#[cfg(test)]
mod tests {
    use seaway_common::{Addr, Be16, proto};

    use super::*;

    const FIRST: u16 = 20_000;

    fn check(own: u16, masqueraded: bool, found: impl Fn(u32) -> u32, expected: Option<u32>) {
        let address = |text: &str| Addr::from(text.parse::<std::net::IpAddr>().unwrap());
        let key = FlowKey {
            src: address("192.0.2.7"),
            dst: address("10.96.0.1"),
            sport: Be16::new(own),
            dport: Be16::new(80),
            proto: proto::TCP,
            ..FlowKey::default()
        };
        let config = Config { snat_first: FIRST, snat_last: FIRST + 999, ..Config::new() };
        let sport = Be16::new(u16::try_from(found(hash_flow(&key) % 1000)).unwrap());
        let src = if masqueraded { address("192.0.2.1") } else { key.src };
        let to = key.rewrite_to(src, sport, address("10.1.1.1"), Be16::new(8080));
        let value = FlowValue { to, state: FLOW_FORWARD, ..FlowValue::default() };
        assert_eq!(in_vain(&key, &value, &config), expected, "{own} {masqueraded}");
        assert_eq!(in_vain(&key, &FlowValue { state: 0, ..value }, &config), None);
    }

    #[test]
    fn an_entry_tells_how_many_ports_were_taken() {
        let first = u32::from(FIRST);
        // Its own port, where it may keep it; else the one that its hash leads to.
        check(40_000, false, |_| 40_000, Some(0));
        check(20_777, true, |_| 20_777, Some(0));
        check(40_000, true, |start| first + start, Some(0));
        check(40_000, true, |start| first + (start + 1) % 1000, Some(1));
        check(20_777, true, |start| first + (start + 9) % 1000, Some(3));
        check(40_000, false, |start| first + (start + 49) % 1000, Some(7));
        check(40_000, true, |start| first + (start + 2) % 1000, None);
    }
}
