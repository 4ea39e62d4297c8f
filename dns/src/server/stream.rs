//! DNS over a stream: messages with their length in front (RFC 7766), encrypted or not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::service::{Arrival, Service};

const FIRST_READ: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(10);
const WRITE: Duration = Duration::from_secs(5);

/// Answers the queries of a connection, one after the other.
pub(super) async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    service: Arc<Service>,
    arrival: Arrival,
) -> io::Result<()> {
    let mut patience = FIRST_READ;
    loop {
        let length = match timeout(patience, stream.read_u16()).await {
            Ok(Ok(length)) => length,
            // The client has gone, or has nothing more to ask.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(_) => return Ok(()),
            Ok(Err(error)) => return Err(error),
        };
        patience = IDLE;
        let mut query = vec![0; usize::from(length)];
        timeout(FIRST_READ, stream.read_exact(&mut query)).await??;
        let transfer = service.engine().transfer(&query, arrival.place, arrival.peer);
        let answers = match transfer {
            Some(messages) => messages,
            None => match Arc::clone(&service).resolve(query, arrival).await {
                Some(answer) => vec![answer],
                None => return Ok(()),
            },
        };
        for answer in answers {
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
            timeout(WRITE, stream.write_all(&framed)).await??;
            timeout(WRITE, stream.flush()).await??;
        }
    }
}
