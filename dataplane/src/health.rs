//! What load balancers, kubelets and people ask over HTTP: is it well?

mod answer;
pub mod proxy;
pub mod service;

pub use answer::Answer;
