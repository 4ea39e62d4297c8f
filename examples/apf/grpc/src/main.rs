//! The gRPC example as a program: `cargo run -p seaway-apf-grpc-example`, then call
//! `grpc.health.v1.Health/Check` on 127.0.0.1:50051.

#![forbid(unsafe_code)]

use seaway_apf::{Configuration, FlowControl, Settings};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let control = FlowControl::new(Settings::default().seats(4));
    control.configure(&Configuration::by_user());
    let listener = TcpListener::bind("127.0.0.1:50051").await?;
    println!("listening on {}", listener.local_addr()?);
    seaway_apf_grpc_example::serve(listener, control).await?;
    Ok(())
}
