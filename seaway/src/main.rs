//! The Seaway node agent.

fn main() {}
