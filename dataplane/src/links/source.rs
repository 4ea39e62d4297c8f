//! Which address packets get as their source when they leave by a device.

use std::net::IpAddr;

use super::{Device, MAIN, Route};

/// The source that the kernel gives packets of a family that leave by the device `index`: what a default
/// route says, else the address in the network of its router, else the device's first address, else what
/// another route of the device says. Without any, packets leave from an address of another device.
pub(super) fn of(index: u32, device: &Device, routes: &[Route], v6: bool) -> Option<IpAddr> {
    let ours = |route: &&Route| route.device == index && route.destination.addr().is_ipv6() == v6;
    let mut ours: Vec<&Route> = routes.iter().filter(ours).collect();
    ours.sort_by_key(|route| (!route.is_default(), route.table != MAIN));
    let usable = device.addresses.iter().filter(|it| it.source && it.net.addr().is_ipv6() == v6);
    let usable: Vec<_> = usable.map(|address| address.net).collect();
    let by_default = ours.iter().filter(|route| route.is_default()).find_map(|route| {
        let beside = |gateway: IpAddr| usable.iter().find(|net| net.contains(&gateway)).map(|net| net.addr());
        route.source.or_else(|| route.gateway.and_then(beside))
    });
    let first = || usable.first().map(|net| net.addr());
    let by_other = || ours.iter().find_map(|route| route.source);
    by_default.or_else(first).or_else(by_other)
}

#[cfg(test)]
mod tests {
    use super::super::Address;
    use super::*;

    const INDEX: u32 = 3;

    fn route(text: &str) -> Route {
        let words: Vec<&str> = text.split(' ').collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            Some(words[at + 1].parse::<IpAddr>().unwrap())
        };
        let device = if words.contains(&"elsewhere") { INDEX + 1 } else { INDEX };
        let table = if words.contains(&"table") { 100 } else { MAIN };
        Route {
            table,
            destination: words[0].parse().unwrap(),
            device,
            gateway: after("via"),
            source: after("src"),
        }
    }

    #[track_caller]
    fn check(addresses: &[&str], routes: &[&str], expected: &str) {
        let address = |text: &&str| Address { net: text.parse().unwrap(), source: true };
        let addresses = addresses.iter().map(address).collect();
        let device = Device { addresses, ..Device::default() };
        let routes: Vec<Route> = routes.iter().map(|text| route(text)).collect();
        let expected: Option<IpAddr> = expected.parse().ok();
        let v6 = routes.first().is_some_and(|route| route.destination.addr().is_ipv6());
        assert_eq!(of(INDEX, &device, &routes, v6), expected);
    }

    #[test]
    fn the_source_is_what_the_kernel_would_take() {
        let two = ["192.0.2.1/24", "198.51.100.1/24"];
        check(&two, &[], "192.0.2.1");
        check(&two, &["0.0.0.0/0 via 192.0.2.254"], "192.0.2.1");
        check(&two, &["0.0.0.0/0 via 198.51.100.254"], "198.51.100.1");
        check(&two, &["0.0.0.0/0 via 198.51.100.254 src 10.9.9.9"], "10.9.9.9");
        check(&two, &["0.0.0.0/0 via 198.51.100.254 elsewhere"], "192.0.2.1");
        check(&two, &["0.0.0.0/0 via 198.51.100.254 table", "0.0.0.0/0 via 192.0.2.254"], "192.0.2.1");
        check(&two, &["198.51.100.0/24 src 198.51.100.1", "192.0.2.0/24 src 192.0.2.1"], "192.0.2.1");
        check(&[], &["10.1.1.111/32"], "");
        check(&[], &["10.1.1.111/32 src 192.0.2.1"], "192.0.2.1");
        check(&["2001:db8::1/64"], &["::/0 via fe80::1"], "2001:db8::1");
        check(&["192.0.2.1/24"], &["::/0 via fe80::1"], "");
    }
}
