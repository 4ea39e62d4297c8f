//! What load balancers, kubelets and people ask over HTTP: is it well?

pub mod proxy;

pub mod service;
