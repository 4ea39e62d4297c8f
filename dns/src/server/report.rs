//! Lines about queries: those that `log` asks for, and failed ones for `errors`.

use std::backtrace::Backtrace;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use crate::block::Block;
use crate::engine::{Engine, Reply, Source};
use crate::plugin::errors::{Burst, Errors, Fate, Level};
use crate::plugin::log::Exchange;
use crate::wire::query::Query;
use crate::wire::writer::Transport;
use crate::wire::{Rcode, kind};

/// An answer, and how it came about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered<'a> {
    pub(super) query: &'a [u8],
    pub(super) answer: &'a [u8],
    pub(super) reply: &'a Reply,
    pub(super) transport: Transport,
    pub(super) client: Option<SocketAddr>,
    pub(super) local: Option<IpAddr>,
    pub(super) took: Duration,
}

impl Engine {
    /// Whether a line may have to be written about an answer.
    pub(super) fn reports(&self, reply: &Reply) -> bool {
        let block = self.block_of(reply);
        block.is_some_and(|block| !block.log.is_empty() || (block.errors.is_some() && reply.has_failed()))
    }

    /// Has panics told with where they came from, where `errors` asks for that.
    pub(super) fn trace_panics(&self) {
        static HOOK: Once = Once::new();
        let mut errors = self.chains().iter().filter_map(|chain| chain.block.errors.as_ref());
        if errors.any(|errors| errors.stacktrace) {
            HOOK.call_once(|| {
                std::panic::set_hook(Box::new(|panic| {
                    tracing::error!("{panic}\n{}", Backtrace::force_capture());
                }));
            });
        }
    }

    fn block_of(&self, reply: &Reply) -> Option<&Block> {
        reply.chain.and_then(|number| self.chains().get(number)).map(|chain| &chain.block)
    }
}

impl Reply {
    fn has_failed(&self) -> bool {
        self.rcode == Rcode::ServFail.code() || self.failure.is_some()
    }
}

/// Writes the lines.
pub(super) fn report(engine: &Engine, answered: &Answered<'_>) {
    let (Ok(query), Some(block)) = (Query::read(answered.query), engine.block_of(answered.reply)) else {
        return;
    };
    let rcode = answered.reply.rcode;
    if let Some(errors) = block.errors.as_ref().filter(|_| answered.reply.has_failed()) {
        let reason = reason(answered.reply);
        fail(errors, &format!("{rcode} {:?} {}: {reason}", query.name, kind::text(query.kind)));
    }
    if let Some(log) = block.log.iter().find(|log| log.covers(&query.name)) {
        let exchange = Exchange {
            query: &query,
            request: answered.query.len(),
            answer: answered.answer,
            rcode,
            client: answered.client,
            local: answered.local,
            transport: answered.transport,
            took: answered.took,
        };
        if let Some(line) = log.line(&exchange) {
            tracing::info!("{line}");
        }
    }
}

fn fail(errors: &Errors, line: &str) {
    let (fate, burst) = errors.note(line);
    if matches!(fate, Fate::Told | Fate::Begun(true)) {
        burst.map_or(Level::Error, |burst| burst.level).write(line);
    }
    if let (Fate::Begun(_), Some(burst)) = (fate, burst) {
        tokio::spawn(summarize(Arc::clone(burst)));
    }
}

async fn summarize(burst: Arc<Burst>) {
    tokio::time::sleep(burst.period).await;
    if let Some(line) = burst.summary() {
        burst.level.write(&line);
    }
}

fn reason(reply: &Reply) -> String {
    match (reply.failure, reply.source) {
        (Some(failure), _) => format!("forward: {failure}"),
        (None, Source::Forward) => "forward: the upstream's answer is SERVFAIL".to_owned(),
        (None, Source::Server) => "no plugin is for this name".to_owned(),
        (None, Source::Kubernetes) => "kubernetes: not synced yet, or an alias leads nowhere".to_owned(),
        (None, other) => format!("{other:?}").to_lowercase(),
    }
}
