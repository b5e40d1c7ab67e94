//! What is left of a body that was answered before its end is read and thrown away, within bounds: a connection that is closed
//! while its caller sends is reset, and the caller never sees why.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;

/// What is read at most, and for how long.
const BYTES: usize = 8 << 20;
const TIME: Duration = Duration::from_secs(5);

/// A body that can be had back from who reads it.
struct Lent(Arc<Mutex<Body>>);

/// Answers, and reads on where the answer came early.
pub(super) async fn read(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let (http1, body) = (head.version < Version::HTTP_2, Arc::new(Mutex::new(body)));
    let lent = Body::new(Lent(Arc::clone(&body)));
    let mut response = next.run(Request::from_parts(head, lent)).await;
    let ended = body
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_end_stream();
    if !ended && http1 {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        tokio::spawn(tokio::time::timeout(TIME, finish(Lent(body))));
    }
    response
}

async fn finish(mut body: Lent) {
    let mut read = 0;
    while read < BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
