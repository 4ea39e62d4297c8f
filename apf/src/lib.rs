//! API Priority and Fairness for any server.

#![forbid(unsafe_code)]
