//! A response body that holds seats.

use crate::control::Permit;
use crate::watches::WatchGuard;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A body that holds seats until it ends or is dropped.
#[derive(Debug)]
pub struct HeldBody<B> {
    inner: B,
    seats: Seats,
    watch: Option<WatchGuard>,
}

/// Gives a watch's seats back before its body ends.
#[derive(Clone, Debug)]
pub struct WatchStarted(Seats);

/// Seats that are given back once, by whoever is first.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(Arc<Mutex<Option<Permit>>>);

impl WatchStarted {
    pub(super) const fn new(seats: Seats) -> Self {
        Self(seats)
    }

    /// The initial events are on their way, or the request was passed on to another server.
    pub fn signal(&self) {
        self.0.release();
    }
}

impl Seats {
    pub(super) fn of(permit: Permit) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    fn release(&self) {
        drop(self.0.lock().take());
    }
}

impl<B> HeldBody<B> {
    pub(super) const fn new(inner: B, seats: Seats, watch: Option<WatchGuard>) -> Self {
        Self { inner, seats, watch }
    }
}

impl<B: Body + Unpin> Body for HeldBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.seats.release();
            self.watch = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for HeldBody<B> {
    fn drop(&mut self) {
        self.seats.release();
    }
}
