//! Accepts connections and bounds how long each may dawdle.
//!
//! A connection has 60 s to begin a request, 10 s from its first byte to the end of the head; a
//! body has its own limit where it is read. A connection that misses one is cut: whoever is that
//! slow does not wait for an explanation.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use banter_protocol::limit;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::Socket;

/// What a connection turns into when it is upgraded.
pub type Upgraded = TokioIo<Timed>;

/// What a listener answers with, which may change while it listens. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Routes(Arc<ArcSwap<Router>>);

impl Routes {
    /// These, to begin with.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(router)))
    }

    /// Answers with these from the next request on.
    pub fn replace(&self, router: Router) {
        self.0.store(Arc::new(router));
    }
}

/// Accepts connections until `stop`; those that are open then finish their request.
pub async fn serve(listener: TcpListener, routes: Routes, stop: CancellationToken) {
    let tasks = tokio_util::task::TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, address)) => {
                // Frames are written whole; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                tasks.spawn(connection(stream, address, routes.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of descriptors, or a connection that died while waiting. Both pass.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    routes: Routes,
    stop: CancellationToken,
) {
    let deadline = Arc::new(Deadline::new());
    let service = hyper::service::service_fn({
        let deadline = deadline.clone();
        move |request| answer(request, address, routes.clone(), deadline.clone())
    });
    let io = TokioIo::new(Timed {
        stream,
        deadline: deadline.clone(),
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            // The default would keep 8 KiB and grow to 400 KiB for heads nobody needs.
            .max_buf_size(limit::FRAME_BYTES_MAX)
            .serve_connection(io, service)
            .with_upgrades()
    );
    let mut stopping = false;
    loop {
        tokio::select! {
            // An error is the client's: a broken request or a connection that went away.
            _ = connection.as_mut() => return,
            () = deadline.missed() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    address: SocketAddr,
    routes: Routes,
    deadline: Arc<Deadline>,
) -> Result<Response, std::convert::Infallible> {
    deadline.lift();
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(Socket(address));
    let router = Router::clone(&routes.0.load());
    let response = router.oneshot(request).await;
    deadline.begin_idle();
    response
}

/// When a connection has to have sent its next request.
#[derive(Debug)]
struct Deadline {
    start: Instant,
    /// Milliseconds after `start`; 0: none, a request is being answered. The lowest bit tells an
    /// idle deadline (0) from one that a first byte has shortened (1).
    at: AtomicU64,
}

impl Deadline {
    fn new() -> Self {
        let new = Self {
            start: Instant::now(),
            at: AtomicU64::new(0),
        };
        new.begin_idle();
        new
    }

    fn after(&self, patience: Duration) -> u64 {
        let at = (self.start.elapsed() + patience).as_millis();
        (u64::try_from(at).unwrap_or(u64::MAX) | 1) ^ 1
    }

    fn begin_idle(&self) {
        self.at
            .store(self.after(limit::HTTP_IDLE_TIMEOUT), Ordering::Relaxed);
    }

    fn lift(&self) {
        self.at.store(0, Ordering::Relaxed);
    }

    /// Bytes came: an idle connection has begun a head.
    fn heard(&self) {
        let at = self.at.load(Ordering::Relaxed);
        if at != 0 && at & 1 == 0 {
            self.at
                .store(self.after(limit::HTTP_HEAD_TIMEOUT) | 1, Ordering::Relaxed);
        }
    }

    async fn missed(&self) {
        /// How often a connection without a deadline is looked at.
        const BUSY: Duration = limit::HTTP_HEAD_TIMEOUT;
        loop {
            let at = self.at.load(Ordering::Relaxed);
            let due = self.start + Duration::from_millis(at);
            if at == 0 {
                tokio::time::sleep(BUSY).await;
            } else if Instant::now() >= due {
                return;
            } else {
                // A first byte may bring the deadline forward while this sleeps.
                tokio::time::sleep_until(due.min(Instant::now() + Duration::from_secs(1))).await;
            }
        }
    }
}

/// A TCP connection that tells its deadline when bytes arrive.
#[derive(Debug)]
pub struct Timed {
    stream: TcpStream,
    deadline: Arc<Deadline>,
}

impl Timed {
    /// The bare connection, for whoever took it over.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.deadline.heard();
        }
        polled
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
