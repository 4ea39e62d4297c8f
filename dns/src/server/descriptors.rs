//! How many descriptors a server can need at once.

use super::Listener;
use super::service::WAITING_MAX;
use super::tcp::CONNECTIONS_MAX;
use crate::block::Block;

/// Files, the runtime's own, pages and their clients, the connection to the API server.
const OTHERS: usize = 128;

/// Descriptors of a server of these blocks while its upstreams are silent: as many queries wait as may,
/// each of them asked of every upstream, and so do the clients of one full listener over TCP.
pub fn descriptors_max(blocks: &[Block], listeners: &[Listener], threads: usize) -> usize {
    let forwards = || blocks.iter().flat_map(|block| &block.forward);
    let most = forwards().map(|forward| forward.upstreams.len()).max().unwrap_or(0);
    let idle: usize = forwards().map(|forward| forward.upstreams.len() * forward.idle_max).sum();
    let waiting = (WAITING_MAX + CONNECTIONS_MAX) * most;
    waiting + CONNECTIONS_MAX + idle + listeners.len() * (threads + 1) + OTHERS
}
