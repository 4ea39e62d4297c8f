//! Messages as octets.

use serde_json::{Value, json};

use super::suite::WireCase;

impl WireCase {
    pub(crate) fn request(&self) -> Vec<u8> {
        octets(&self.request_hex)
    }

    pub(crate) fn is_tcp(&self) -> bool {
        self.transport == "tcp"
    }
}

/// A query with RD and without EDNS.
pub(crate) fn query(name: &str, kind: &str) -> Vec<u8> {
    let kind: u16 = match kind.strip_prefix("TYPE") {
        Some(number) => number.parse().unwrap(),
        None => {
            kind.parse::<hickory_proto::rr::RecordType>().unwrap_or_else(|_| panic!("type {kind}")).into()
        }
    };
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&seaway_dns::name::parse(name).unwrap());
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

/// The same from a client that takes 4096 octets.
pub(crate) fn roomy_query(name: &str, kind: &str) -> Vec<u8> {
    let mut message = query(name, kind);
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    message
}

/// What is wrong with an answer; `None` if nothing is.
pub(crate) fn problem(case: &WireCase, answer: Option<&[u8]>) -> Option<String> {
    let expected = &case.expect;
    if expected["response"] == json!(false) {
        return answer.map(|answer| format!("answered with {} octets", answer.len()));
    }
    let Some(answer) = answer else { return Some("no answer".to_owned()) };
    let request = case.request();
    let found = describe(answer);
    let mut wrong = Vec::new();
    if answer[..2] != request[..2] {
        wrong.push("the identifier is another".to_owned());
    }
    let size = expected["size"].as_u64().unwrap_or(u64::MAX);
    let truncated = expected["tc"] == json!(1);
    // What is left of an answer that does not fit is the server's choice, as long as it fits.
    let limit = if truncated { limit(&request) } else { size };
    if answer.len() as u64 > limit {
        wrong.push(format!("{} octets, more than {limit}", answer.len()));
    }
    let all = [
        "rcode", "qr", "opcode", "aa", "tc", "rd", "ra", "z", "ad", "cd", "qdcount", "ancount", "nscount",
        "arcount",
    ];
    let fields: &[&str] = if truncated { &["rcode", "tc"] } else { &all };
    for field in fields.iter().chain(["opt"].iter().filter(|_| expected.get("opt").is_some() && !truncated)) {
        if expected.get(field).is_some_and(|value| *value != found[field]) {
            wrong.push(format!("{field} {}, not {}", found[field], expected[field]));
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

fn limit(request: &[u8]) -> u64 {
    let edns = request[10..12] != [0, 0];
    // The queries of the suites end with their OPT.
    let opt = &request[request.len().saturating_sub(11)..];
    if edns { u64::from(u16::from_be_bytes([opt[3], opt[4]])) } else { 512 }
}

fn describe(message: &[u8]) -> Value {
    let word = |index: usize| u16::from_be_bytes([message[2 * index], message[2 * index + 1]]);
    let bit = |mask: u16| u16::from(word(1) & mask != 0);
    let mut found = json!({
        "qr": bit(0x8000), "opcode": (word(1) >> 11) & 15, "aa": bit(0x0400), "tc": bit(0x0200),
        "rd": bit(0x0100), "ra": bit(0x0080), "z": bit(0x0040), "ad": bit(0x0020), "cd": bit(0x0010),
        "rcode": word(1) & 15,
        "qdcount": word(2), "ancount": word(3), "nscount": word(4), "arcount": word(5), "opt": null,
    });
    if word(5) > 0
        && let Some(opt) = opt(message)
    {
        found["opt"] = opt;
    }
    found
}

/// The OPT, which is the last record.
fn opt(message: &[u8]) -> Option<Value> {
    for start in 12..message.len() - 10 {
        let record = &message[start..];
        let length = usize::from(u16::from_be_bytes([record[9], record[10]]));
        if record[..3] == [0, 0, 41] && record.len() == 11 + length {
            let mut options = Vec::new();
            let mut rest = &record[11..];
            while let [c0, c1, l0, l1, tail @ ..] = rest {
                let (data, after) = tail.split_at(usize::from(u16::from_be_bytes([*l0, *l1])));
                let hex: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
                options.push(json!([u16::from_be_bytes([*c0, *c1]), hex]));
                rest = after;
            }
            return Some(json!({
                "version": record[6], "udp": u16::from_be_bytes([record[3], record[4]]),
                "ttl_flags": u16::from_be_bytes([record[7], record[8]]), "ext_rcode": record[5], "options": options,
            }));
        }
    }
    None
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}
