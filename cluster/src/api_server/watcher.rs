//! One kind of object: listed, then watched, for ever.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{AsyncBufRead, AsyncBufReadExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

use super::Options;
use super::backoff::{Backoff, random};
use super::check::{Checks, Due, Verdict};
use super::connection::Connection;
use super::line::{Line, Page};
use super::query::Query;
use super::read::{Reading, read};
use super::store::Delta;
use super::trouble::Trouble;
use crate::freshness::Freshness;

/// The longest line of a watch; the API server itself takes no object of more than 3 MiB.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Failures in a row after which somebody is told: a connection that is cut once is no news.
const TOLD_AFTER: u32 = 2;
/// A kind that the cluster may do without is asked for again after this long.
const WITHHELD_RETRY: Duration = Duration::from_mins(5);
/// Lists that were not streamed to their end before pages are asked for instead.
const STREAMS_UNFINISHED_MAX: u32 = 2;

/// Follows the objects of one query.
pub(super) struct Watcher {
    query: Query,
    options: Options,
    connection: Connection,
    deltas: mpsc::Sender<Delta>,
    /// How far the watch has come; none means that everything has to be listed.
    position: Option<String>,
    /// Streamed lists that did not come to their end.
    unfinished: u32,
    streaming: bool,
    backoff: Backoff,
    failures: u32,
    /// A list came to its end, or the cluster does without the kind.
    told: bool,
    checks: Checks,
    freshness: Freshness,
}

impl Watcher {
    pub(super) fn new(
        query: Query,
        options: Options,
        connection: Connection,
        deltas: mpsc::Sender<Delta>,
        freshness: Freshness,
    ) -> Self {
        Self {
            query,
            options,
            connection,
            deltas,
            position: None,
            unfinished: 0,
            streaming: options.streaming,
            backoff: Backoff::new(options.retry),
            failures: 0,
            told: false,
            checks: Checks::new(options.check, Instant::now(), random()),
            freshness,
        }
    }

    /// Runs until nobody takes the changes any more.
    pub(super) async fn run(mut self) {
        loop {
            let deltas = self.deltas.clone();
            let outcome = tokio::select! {
                () = deltas.closed() => return,
                outcome = self.follow() => outcome,
            };
            let wait = match outcome {
                // The server ends every watch after a while.
                Ok(()) if self.failures == 0 => continue,
                Ok(()) => self.backoff.wait(random()),
                Err(Trouble::Done) => return,
                Err(trouble) if trouble.withheld() && self.query.optional() => {
                    self.do_without(&trouble).await;
                    WITHHELD_RETRY
                }
                Err(trouble) if self.recover(&trouble).await => continue,
                Err(_) => self.backoff.wait(random()),
            };
            tokio::select! {
                () = deltas.closed() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// One list, if one is due, and one watch.
    async fn follow(&mut self) -> Result<(), Trouble> {
        if self.position.is_none() && !self.streaming {
            self.list().await?;
        }
        self.watch().await
    }

    /// Prepares the next attempt. Returns whether it may be made at once.
    async fn recover(&mut self, trouble: &Trouble) -> bool {
        self.failures += 1;
        let kind = self.query.kind;
        tracing::debug!(%kind, failures = self.failures, %trouble, "a watch or list failed");
        match trouble {
            Trouble::Gone => {
                self.position = None;
                return self.failures == 1;
            }
            Trouble::NotStreamed => {
                self.streaming = false;
                self.failures = 0;
                return true;
            }
            Trouble::Unauthorized => {
                if let Err(error) = self.connection.renew().await {
                    tracing::debug!(%error, "the credentials cannot be read again");
                }
            }
            Trouble::Unfinished => {
                self.unfinished += 1;
                self.streaming = self.streaming && self.unfinished < STREAMS_UNFINISHED_MAX;
            }
            _ => {}
        }
        if self.failures >= TOLD_AFTER {
            let problem = format!("cannot follow {kind} objects: {trouble}; the last facts stay in force");
            self.send(Delta::Trouble(kind, Some(problem))).await.ok();
        }
        false
    }

    /// A kind that was never listed counts as listed: there is none.
    async fn do_without(&mut self, trouble: &Trouble) {
        let kind = self.query.kind;
        tracing::debug!(%kind, %trouble, "the cluster does not tell of this kind");
        self.freshness.forget(kind);
        if !std::mem::replace(&mut self.told, true) {
            self.send(Delta::Begin(kind)).await.ok();
            self.send(Delta::End(kind)).await.ok();
        }
    }

    /// Lists every object, page by page.
    async fn list(&mut self) -> Result<(), Trouble> {
        let kind = self.query.kind;
        self.send(Delta::Begin(kind)).await?;
        self.checks.listing();
        let mut continues = None;
        loop {
            let text = self.connection.text(self.query.list(&self.options, continues)?).await?;
            let arrived = Instant::now();
            let page: Page<'_> = serde_json::from_str(&text)?;
            for object in page.items.into_iter().flatten() {
                self.checks.listed(1);
                self.send(Delta::put(kind, read(kind, object), arrived)).await?;
            }
            self.freshness.confirm(kind, arrived);
            continues = page.metadata.continues.filter(|token| !token.is_empty());
            if continues.is_none() {
                self.position = page.metadata.resource_version.filter(|version| !version.is_empty());
                break;
            }
        }
        self.told = true;
        self.send(Delta::End(kind)).await
    }

    /// Watches from the position, or from a streamed list on, until the server ends it.
    async fn watch(&mut self) -> Result<(), Trouble> {
        let kind = self.query.kind;
        let mut listing = self.position.is_none();
        let request = self.query.watch(self.position.as_deref(), random())?;
        let stream = match self.connection.stream(request).await.map_err(Trouble::from) {
            Err(trouble) if listing && trouble.not_understood() => return Err(Trouble::NotStreamed),
            stream => stream?,
        };
        self.send(if listing { Delta::Begin(kind) } else { Delta::Trouble(kind, None) }).await?;
        if listing {
            self.checks.listing();
        } else {
            self.checks.opened(Instant::now());
        }
        let mut asked = None;
        let mut stream = pin!(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let more = {
                let mut next = pin!(next_line(&mut stream, &mut line));
                loop {
                    tokio::select! {
                        more = &mut next => break more,
                        said = answered(&mut asked) => {
                            asked = None;
                            if self.hear(said) {
                                return Ok(());
                            }
                        }
                        () = sleep_until(self.checks.due().into()), if !listing && asked.is_none() => {
                            match self.checks.take_due(Instant::now(), random()) {
                                Due::Ask => asked = Some(self.look()?),
                                Due::Reopen => return Ok(()),
                            }
                        }
                    }
                }
            };
            let arrived = Instant::now();
            // A cut line is no line: what it was about comes again.
            let complete = matches!(more, Ok(true));
            if !complete && listing {
                tracing::debug!(%kind, error = more.err().map(|error| error.to_string()), "a streamed list ended");
                return Err(Trouble::Unfinished);
            }
            if !more? {
                return Ok(());
            }
            listing = self.take(&line, listing, arrived).await?;
            self.freshness.confirm(kind, arrived);
            // What follows a failure has to get through before it counts as mended.
            self.backoff.reset();
            self.failures = 0;
            if self.position.is_none() && !listing {
                return Ok(());
            }
        }
    }

    /// Asks the server how far the cluster is, while the watch goes on.
    fn look(&self) -> Result<JoinHandle<kube::Result<String>>, Trouble> {
        let (connection, request) = (self.connection.clone(), self.query.look()?);
        Ok(tokio::spawn(async move { connection.text(request).await }))
    }

    /// Takes in how far the cluster is. Returns whether the watch is to end.
    fn hear(&mut self, said: Option<String>) -> bool {
        let Some(text) = said else { return false };
        let Ok(page) = serde_json::from_str::<Page<'_>>(&text) else { return false };
        let here = page.items.map_or(0, |items| items.len()) as u64;
        let more = page.metadata.continues.is_some_and(|token| !token.is_empty());
        // Where there is more, how much is an optional field.
        let count =
            if more { page.metadata.remaining_item_count.map(|rest| rest + here) } else { Some(here) };
        let count = count.filter(|_| self.query.whole());
        let version = page.metadata.resource_version;
        let verdict = self.checks.heard(version.as_deref(), count, self.position.as_deref(), Instant::now());
        self.obey(verdict);
        self.position.is_none()
    }

    /// Counts and tells of a watch that had stopped; without a position everything is listed anew.
    fn obey(&mut self, verdict: Verdict) {
        let (new, listed) = match verdict {
            Verdict::None => return,
            Verdict::Lost { new } => (new, false),
            Verdict::Missing { new } => (new, true),
        };
        let kind = self.query.kind;
        self.freshness.lose(kind, Instant::now());
        if listed {
            self.position = None;
        }
        if new {
            tracing::warn!(
                %kind,
                listed,
                "the API server's watch had stopped telling of changes; another has taken its place"
            );
        }
    }

    /// Deals with one line. Returns whether the list goes on.
    async fn take(&mut self, line: &[u8], listing: bool, arrived: Instant) -> Result<bool, Trouble> {
        let kind = self.query.kind;
        let parsed = Line::of(line)?;
        match parsed {
            Line::Added(object) | Line::Changed(object) => {
                let reading = read(kind, object);
                let change = i64::from(matches!(parsed, Line::Added(_)));
                self.advance(&reading, listing, change);
                self.send(Delta::put(kind, reading, arrived)).await?;
            }
            Line::Gone(object) => {
                let reading = read(kind, object);
                self.advance(&reading, listing, -1);
                if let Ok(reading) = reading {
                    self.send(Delta::Gone { kind, name: reading.name, arrived }).await?;
                }
            }
            Line::Bookmark { position, list_ends } => {
                if listing && list_ends {
                    self.told = true;
                    self.send(Delta::End(kind)).await?;
                    self.send(Delta::Trouble(kind, None)).await?;
                    self.unfinished = 0;
                }
                let listed = !listing || list_ends;
                if listed && !position.is_empty() {
                    let verdict = self.checks.told(Some(&position), None);
                    self.position = Some(position);
                    self.obey(verdict);
                }
                return Ok(!listed);
            }
            Line::Error(error) => return Err(error.into()),
            Line::Unknown => {}
        }
        Ok(listing)
    }

    /// A list that is cut short begins again, whatever came of it.
    fn advance(&mut self, reading: &serde_json::Result<Reading>, listing: bool, change: i64) {
        let position = reading.as_ref().ok().and_then(|reading| reading.position.clone());
        let verdict = self.checks.told(position.as_deref(), Some(change));
        if let Some(position) = position.filter(|_| !listing) {
            self.position = Some(position);
        }
        self.obey(verdict);
    }

    async fn send(&self, delta: Delta) -> Result<(), Trouble> {
        self.deltas.send(delta).await.map_err(|_| Trouble::Done)
    }
}

/// What the server answered; never, while it was not asked. Nothing when it could not be.
async fn answered(asked: &mut Option<JoinHandle<kube::Result<String>>>) -> Option<String> {
    match asked {
        None => std::future::pending().await,
        Some(asked) => asked.await.ok()?.ok(),
    }
}

/// Reads a line without its end. False at the end of the stream.
async fn next_line(stream: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> Result<bool, Trouble> {
    loop {
        let buffer = stream.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let (taken, ends) = match buffer.iter().position(|octet| *octet == b'\n') {
            Some(end) => (end + 1, true),
            None => (buffer.len(), false),
        };
        line.extend_from_slice(&buffer[..taken]);
        stream.consume_unpin(taken);
        if ends {
            return Ok(true);
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(Trouble::TooLong(LINE_BYTES_MAX));
        }
    }
}
