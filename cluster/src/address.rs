//! IP addresses and ranges as Kubernetes components read them: older spellings included.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The address, or `None` if it is none.
///
/// As kube-proxy's sloppy parser does, octets with leading zeros are decimal and an IPv4-mapped
/// IPv6 address is the IPv4 address. Zones (`%eth0`) are not part of an address.
pub(crate) fn parse_ip(text: &str) -> Option<IpAddr> {
    plain_octets(text).parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// The range with its host bits cleared, or `None` if it is none; a range of IPv4-mapped addresses
/// is the IPv4 range.
pub(crate) fn parse_range(text: &str) -> Option<IpNet> {
    let (address, length) = text.trim().split_once('/')?;
    if length.starts_with('+') {
        return None;
    }
    let length: u8 = length.parse().ok()?;
    match plain_octets(address).parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => Some(Ipv4Net::new(address, length).ok()?.trunc().into()),
        IpAddr::V6(address) => Some(unmapped(Ipv6Net::new(address, length).ok()?.trunc())),
    }
}

fn unmapped(range: Ipv6Net) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let mapped = Ipv6Addr::to_ipv4_mapped(&range.network());
    let v4 = match (mapped, range.prefix_len().checked_sub(MAPPED_BITS)) {
        (Some(address), Some(length)) => Ipv4Net::new(address, length).ok(),
        _ => None,
    };
    v4.map_or(IpNet::V6(range), IpNet::V4)
}

/// `text` with leading zeros taken off the dotted octets, the only part where the two spellings
/// of a number differ between Go's older parser and Rust's.
fn plain_octets(text: &str) -> String {
    let (head, dotted) = text.split_at(text.rfind(':').map_or(0, |colon| colon + 1));
    if !dotted.contains('.') {
        return text.to_owned();
    }
    let octets: Vec<&str> = dotted.split('.').map(without_leading_zeros).collect();
    format!("{head}{}", octets.join("."))
}

fn without_leading_zeros(octet: &str) -> &str {
    match octet.trim_start_matches('0') {
        "" if !octet.is_empty() => "0",
        rest => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_ip(text: &str, expected: Option<&str>) {
        assert_eq!(parse_ip(text).map(|ip| ip.to_string()).as_deref(), expected, "{text}");
    }

    fn check_range(text: &str, expected: Option<&str>) {
        assert_eq!(parse_range(text).map(|net| net.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn addresses_are_read_as_kube_proxy_reads_them() {
        check_ip("10.0.0.1", Some("10.0.0.1"));
        check_ip("010.001.000.001", Some("10.1.0.1"));
        check_ip("0.0.0.00", Some("0.0.0.0"));
        check_ip("::ffff:192.0.2.7", Some("192.0.2.7"));
        check_ip("::ffff:192.000.2.07", Some("192.0.2.7"));
        check_ip("FD00:0096:0:0:0:0:0:0010", Some("fd00:96::10"));
        check_ip("", None);
        check_ip("None", None);
        check_ip("10.0.0", None);
        check_ip("10.0.0.", None);
        check_ip("10.0.0.256", None);
        check_ip("fe80::1%eth0", None);
        check_ip("web.example.com", None);
    }

    #[test]
    fn ranges_lose_their_host_bits() {
        check_range("203.0.113.77/24", Some("203.0.113.0/24"));
        check_range(" 10.0.0.0/8 ", Some("10.0.0.0/8"));
        check_range("10.1.2.3/0", Some("0.0.0.0/0"));
        check_range("2001:db8:5::9/48", Some("2001:db8:5::/48"));
        check_range("::ffff:203.0.113.9/120", Some("203.0.113.0/24"));
        check_range("::ffff:203.0.113.9/64", Some("::/64"));
        check_range("203.0.113.0", None);
        check_range("203.0.113.0/33", None);
        check_range("203.0.113.0/+8", None);
        check_range("nonsense", None);
    }
}
