//! Answers to other questions than the client's, made answers to its own.

use hickory_proto::op::Message;

use crate::name;
use crate::plugin::rewrite::Back;
use crate::record::Record;
use crate::wire::query::Query;
use crate::wire::writer::{Form, Section, Transport, Writer};
use crate::wire::{QUESTION_NAME, Rcode, kind};

/// Writes the answer to a query that was looked up as another. Returns its code.
pub(super) fn restore(
    query: &Query<'_>,
    answer: &[u8],
    back: &Back,
    transport: Transport,
    form: Form,
    out: &mut Vec<u8>,
) -> u16 {
    pass_on(query, answer, transport, form, out, |record, _, _| back.record(record, query.name.wire()))
}

/// Writes the answer that a search led to: an alias leads to the name that has it. Returns its code.
pub(super) fn search_answer(
    query: &Query<'_>,
    answer: &[u8],
    transport: Transport,
    form: Form,
    out: &mut Vec<u8>,
) -> u16 {
    pass_on(query, answer, transport, form, out, |record, first, writer| {
        if first && !record.owner.eq_ignore_ascii_case(query.name.wire()) {
            writer.add(Section::Answer, question, kind::CNAME, record.ttl_s, |out| {
                out.extend_from_slice(&record.owner);
            });
        }
    })
}

fn pass_on(
    query: &Query<'_>,
    answer: &[u8],
    transport: Transport,
    form: Form,
    out: &mut Vec<u8>,
    mut change: impl FnMut(&mut Record, bool, &mut Writer<'_>),
) -> u16 {
    let mut writer = Writer::begin(out, query, transport, form);
    let message = match Message::from_vec(answer) {
        Ok(message) => message,
        Err(error) => {
            tracing::warn!(name = %name::text(query.name.wire()), %error, "an answer cannot be read");
            writer.finish(query, Rcode::ServFail, false);
            return Rcode::ServFail.code();
        }
    };
    let sections = [
        (Section::Answer, &message.answers),
        (Section::Authority, &message.authorities),
        (Section::Additional, &message.additionals),
    ];
    for (section, records) in sections {
        for (place, record) in records.iter().filter_map(Record::of).enumerate() {
            let mut record = record;
            change(&mut record, section == Section::Answer && place == 0, &mut writer);
            let asked = record.owner.eq_ignore_ascii_case(query.name.wire());
            let owner =
                |out: &mut Vec<u8>| if asked { question(out) } else { out.extend_from_slice(&record.owner) };
            writer.add(section, owner, record.kind, record.ttl_s, |out| out.extend_from_slice(&record.data));
        }
    }
    if message.metadata.truncation {
        writer.truncate();
    }
    let rcode = u16::from(message.metadata.response_code);
    let flags = u16::from_be_bytes([answer[2], answer[3]]);
    writer.finish_with(query, flags, rcode);
    rcode
}

fn question(out: &mut Vec<u8>) {
    out.extend_from_slice(&QUESTION_NAME.to_be_bytes());
}
