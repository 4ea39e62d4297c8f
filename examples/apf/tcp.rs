//! Flow control in a protocol of one's own over TCP: a line `USER MILLISECONDS` is a request.
//!
//! Run it with `cargo run -p seaway-apf --example tcp`, then `echo 'ann 100' | nc 127.0.0.1 8100`.

use seaway_apf::{Attributes, Configuration, FlowControl, Settings};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let control = FlowControl::new(Settings::default().seats(2));
    control.configure(&Configuration::by_user());
    let listener = TcpListener::bind("127.0.0.1:8100").await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, control).await
}

/// Serves connections until it is dropped.
pub async fn serve(listener: TcpListener, control: FlowControl) -> std::io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, control.clone()))),
            // Out of descriptors: they come back when connections end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn converse(mut stream: TcpStream, control: FlowControl) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let (user, millis) = line.split_once(' ').unwrap_or((&line, "10"));
        let work = Duration::from_millis(millis.parse().unwrap_or(10));
        let reply = match control.acquire(Attributes::user(user).does("work", "/lines")).await {
            Ok(_permit) => {
                tokio::time::sleep(work).await;
                "done\n".to_owned()
            }
            Err(refusal) => format!("busy, retry after {} s\n", refusal.retry_after_s),
        };
        writer.write_all(reply.as_bytes()).await?;
    }
    Ok(())
}
