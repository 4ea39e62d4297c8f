//! The watchers of all kinds, and the store between them and the readers.

use std::path::Path;

use tokio::sync::{mpsc, watch};

use super::Options;
use super::connection::{Connection, Error};
use super::query::Query;
use super::store::{Delta, Store};
use super::watcher::Watcher;
use crate::Update;
use crate::freshness::Freshness;
use crate::requests::Requests;
use crate::source::Wants;

/// Changes that wait for the store; a watcher that finds no room waits, and with it the server.
const QUEUE_MAX: usize = 4096;

/// Follows the API server in tasks of the current tokio runtime, until the last receiver is gone.
/// Returns once every kind was listed to its end.
///
/// # Errors
/// [`Error`]: it is not known how to reach the server. One that is not there is waited for.
pub async fn follow(
    kubeconfig: Option<&Path>,
    wants: &Wants,
    options: Options,
) -> Result<watch::Receiver<Update>, Error> {
    let queries = Query::all(wants);
    let freshness = Freshness::default();
    let requests = Requests::default();
    let kinds = queries.iter().map(|query| query.kind);
    let store = Store::new(kinds, freshness.clone(), requests.clone());
    let (deltas, queue) = mpsc::channel(QUEUE_MAX);
    for query in queries {
        // Each has a connection of its own, so that one long list holds up no other.
        let kubeconfig = kubeconfig.map(Path::to_owned);
        let connection = Connection::new(kubeconfig, options, requests.clone()).await?;
        let watcher = Watcher::new(query, options, connection, deltas.clone(), freshness.clone());
        tokio::spawn(watcher.run());
    }
    let (sender, mut receiver) = watch::channel(Update::default());
    tokio::spawn(keep(queue, store, sender));
    // The store lives as long as there is a receiver.
    receiver.changed().await.ok();
    Ok(receiver)
}

async fn keep(mut queue: mpsc::Receiver<Delta>, mut store: Store, sender: watch::Sender<Update>) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            () = sender.closed() => return,
            count = queue.recv_many(&mut batch, QUEUE_MAX) => if count == 0 { return },
        }
        batch.drain(..).for_each(|delta| store.apply(delta));
        if let Some(update) = store.update() {
            sender.send_replace(update);
        }
    }
}
