//! The contract between Seaway's kernel programs and its user-space half.

#![forbid(unsafe_code)]
