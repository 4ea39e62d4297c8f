//! Log lines about queries: every one where `log` asks for it, failed ones for `errors`.

use std::net::SocketAddr;

use crate::engine::{Engine, Reply};
use crate::wire::query::Query;
use crate::wire::writer::Transport;
use crate::wire::{Rcode, kind};

impl Engine {
    /// Whether a line is to be written about an answer.
    pub(super) fn reports(&self, reply: &Reply) -> bool {
        let block = reply.chain.and_then(|number| self.chains().get(number)).map(|chain| &chain.block);
        block.is_some_and(|block| block.log || (block.errors && reply.rcode == Rcode::ServFail.code()))
    }
}

/// Writes the line.
pub(super) fn report(
    engine: &Engine,
    query: &[u8],
    reply: &Reply,
    transport: Transport,
    client: Option<SocketAddr>,
) {
    let Ok(query) = Query::read(query) else { return };
    let kind = kind::text(query.kind);
    let client = client.map(|client| client.to_string()).unwrap_or_default();
    let (name, rcode, source) = (&query.name, reply.rcode, reply.source);
    let block = reply.chain.and_then(|number| engine.chains().get(number)).map(|chain| &chain.block);
    if block.is_some_and(|block| block.errors) && rcode == Rcode::ServFail.code() {
        tracing::error!(?name, %kind, %client, ?transport, ?source, "the query failed");
    } else {
        tracing::info!(?name, %kind, %client, ?transport, ?source, rcode, "answered");
    }
}
