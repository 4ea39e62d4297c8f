//! Answers to names, section by section.

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::BinEncodable;
use serde_json::{Value, json};

use super::suite::{Expected, NameCase};

/// What is wrong with an answer; `None` if nothing is.
pub(crate) fn problem(case: &NameCase, answers: &[Vec<u8>]) -> Option<String> {
    let mut answers = answers.iter().map(|answer| Message::from_vec(answer));
    let mut message = match answers.next() {
        None => return Some(format!("{} {}: no answer", case.qname, case.qtype)),
        Some(Err(error)) => return Some(format!("{} {}: {error}", case.qname, case.qtype)),
        Some(Ok(message)) => message,
    };
    for later in answers {
        match later {
            Ok(later) => message.answers.extend(later.answers),
            Err(error) => return Some(format!("{} {}: {error}", case.qname, case.qtype)),
        }
    }
    let mut wrong = Vec::new();
    let rcode = rcode(u16::from(message.metadata.response_code));
    if rcode != case.rcode {
        wrong.push(format!("rcode {rcode}, not {}", case.rcode));
    }
    let flags =
        [("aa", case.aa, message.metadata.authoritative), ("tc", case.tc, message.metadata.truncation)];
    for (flag, expected, found) in flags {
        if expected.is_some_and(|expected| expected != found) {
            wrong.push(format!("{flag} {found}"));
        }
    }
    let question = message.queries.first().map(|query| spelt(query.name())).unwrap_or_default();
    if question != case.qname {
        wrong.push(format!("question {question}"));
    }
    let sections = [
        ("answer", &case.answer, &message.answers),
        ("authority", &case.authority, &message.authorities),
        ("additional", &case.additional, &message.additionals),
    ];
    for (section, expected, found) in sections {
        wrong.extend(difference(expected, found).map(|difference| format!("{section}: {difference}")));
    }
    if !aliases_come_first(&message.answers) {
        wrong.push("an alias comes after what it leads to".to_owned());
    }
    (!wrong.is_empty()).then(|| format!("{} {}: {}", case.qname, case.qtype, wrong.join("; ")))
}

/// Records as multisets.
fn difference(expected: &[Expected], found: &[Record]) -> Option<String> {
    let mut left: Vec<&Record> = found.iter().collect();
    let mut missing = Vec::new();
    for expected in expected {
        match left.iter().position(|record| is(record, expected)) {
            Some(place) => drop(left.swap_remove(place)),
            None => missing.push(format!("{} {} {}", expected.name, expected.kind, expected.data)),
        }
    }
    let surplus: Vec<String> = left.iter().map(|record| record.to_string()).collect();
    (!missing.is_empty() || !surplus.is_empty()).then(|| format!("missing {missing:?}, surplus {surplus:?}"))
}

fn is(record: &Record, expected: &Expected) -> bool {
    spelt(&record.name) == expected.name
        && record.record_type().to_string() == expected.kind
        && expected.ttl.is_none_or(|ttl| ttl == record.ttl)
        && data(&record.data, &expected.data)
}

fn data(found: &RData, expected: &Value) -> bool {
    let found = match found {
        RData::A(address) => json!(address.to_string()),
        RData::AAAA(address) => json!(address.to_string()),
        RData::CNAME(name) => json!(spelt(&name.0)),
        RData::NS(name) => json!(spelt(&name.0)),
        RData::PTR(name) => json!(spelt(&name.0)),
        RData::SRV(srv) => json!({
            "priority": srv.priority, "weight": srv.weight, "port": srv.port, "target": spelt(&srv.target)
        }),
        RData::TXT(text) => {
            let parts = text.txt_data.iter().map(|part| String::from_utf8_lossy(part).into_owned());
            json!(parts.collect::<Vec<_>>())
        }
        RData::SOA(soa) => {
            // The serial depends on the time.
            let same = |field: &str, value: Value| expected.get(field).is_none_or(|wanted| *wanted == value);
            return same("mname", json!(spelt(&soa.mname)))
                && same("rname", json!(spelt(&soa.rname)))
                && same("refresh", json!(soa.refresh))
                && same("retry", json!(soa.retry))
                && same("expire", json!(soa.expire))
                && same("minimum", json!(soa.minimum));
        }
        other => json!(other.to_string()),
    };
    // Weights and priorities that are given as null are not compared.
    match (&found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(field, value)| value.is_null() || found.get(field) == Some(value))
        }
        (Value::Array(found), Value::String(text)) => found.len() == 1 && found[0] == *text,
        _ => found == *expected,
    }
}

fn aliases_come_first(answers: &[Record]) -> bool {
    answers.iter().enumerate().all(|(place, record)| match &record.data {
        RData::CNAME(target) => !answers[..place].iter().any(|earlier| earlier.name == target.0),
        _ => true,
    })
}

fn rcode(code: u16) -> String {
    let name = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        16 => "BADVERS",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// A name as the suites spell it: nothing is escaped that need not be.
fn spelt(name: &Name) -> String {
    seaway_dns::name::text(&name.to_bytes().unwrap())
}
