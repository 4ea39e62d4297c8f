//! What real nodes do to a dataplane: one test for each public report or attack that the project has
//! collected, named after it, and the matrix of firewalls, kernel settings, clients, endpoints and
//! policies.
//!
//! Every node here is hostile unless a test says why not; see [`seaway_lab::NodeSettings`].

#![forbid(unsafe_code)]

#[path = "real_nodes/attachments.rs"]
mod attachments;
#[path = "real_nodes/errors.rs"]
mod errors;
#[path = "real_nodes/firewalls.rs"]
mod firewalls;
#[path = "real_nodes/floods.rs"]
mod floods;
#[path = "real_nodes/hostile_packets.rs"]
mod hostile_packets;
#[path = "real_nodes/local_endpoints.rs"]
mod local_endpoints;
#[path = "real_nodes/matrix.rs"]
mod matrix;
#[path = "real_nodes/objects.rs"]
mod objects;
#[path = "real_nodes/own_addresses.rs"]
mod own_addresses;
#[path = "real_nodes/ports.rs"]
mod ports;
#[path = "real_nodes/restarts.rs"]
mod restarts;
#[path = "real_nodes/rights.rs"]
mod rights;
#[path = "real_nodes/sockets.rs"]
mod sockets;
#[path = "real_nodes/tcp_states.rs"]
mod tcp_states;
#[path = "real_nodes/way_out.rs"]
mod way_out;
