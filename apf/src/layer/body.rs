//! A response body that holds seats.

use super::held::Guard;
use crate::watches::WatchGuard;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Body of a reply: the service's, which holds seats until it ends or is dropped, or the text of a
    /// refusal. The default is an empty one, for layers around this one that make replies themselves.
    #[derive(Debug)]
    pub struct ReplyBody<B> {
        #[pin]
        inner: Option<B>,
        text: Vec<u8>,
        held: Option<(Guard, Option<WatchGuard>)>,
    }
}

impl<B> ReplyBody<B> {
    pub(super) const fn new(inner: B, held: Option<(Guard, Option<WatchGuard>)>) -> Self {
        Self { inner: Some(inner), text: Vec::new(), held }
    }

    pub(super) const fn text(text: Vec<u8>) -> Self {
        Self { inner: None, text, held: None }
    }
}

impl<B> Default for ReplyBody<B> {
    fn default() -> Self {
        Self::text(Vec::new())
    }
}

impl<B> Body for ReplyBody<B>
where
    B: Body,
    B::Data: From<Vec<u8>>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            let text = std::mem::take(this.text);
            return Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text.into()))));
        };
        let frame = ready!(inner.poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            *this.held = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().map_or(self.text.is_empty(), Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(self.text.len() as u64), Body::size_hint)
    }
}
