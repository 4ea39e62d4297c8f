//! From facts to BPF maps, and the programs that read them.

#![forbid(unsafe_code)]
