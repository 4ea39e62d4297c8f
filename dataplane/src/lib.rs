//! From facts to BPF maps, and the programs that read them.
//!
//! ```text
//! Snapshot ─ desired ─► Desired ─ plan ─► [Step] ─ apply ─► Maps ◄─ programs
//!                                  ▲                         │
//!                              Installed ◄──────── read ─────┘
//! ```
//!
//! `desired` and `plan` are pure. Only `Maps` touches the kernel. `Installed` is what the maps
//! hold, kept beside them step by step, and read back from them after a restart or a failure.

pub mod attach;
pub mod batch;
pub mod feeder;
pub mod flows;
pub mod kernel_maps;
pub mod maps;
pub mod object;
pub mod pins;
pub mod probe;
pub mod programs;

mod bpf;
mod mapped;
mod raw;

pub use maps::Maps;
