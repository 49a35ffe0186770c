//! Spans on their way to the collector: gathered for a second, sent together.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::metric::Metrics;
use crate::settings::{CollectorUrl, Role};

/// Spans that are sent together: some 100 KiB.
const BATCH_MAX: usize = 512;
/// How long spans wait for company: nobody looks at a trace sooner.
const LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take; what it has not taken by then is lost.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read: a sentence about what was wrong.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The task that sends.
#[derive(Debug)]
pub(super) struct Export {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Export {
    /// Begins to send what is `waiting`.
    ///
    /// # Errors
    /// What cannot be used: the system's certificates, or a variable of OTLP's own.
    pub(super) fn start(
        collector: &CollectorUrl,
        role: Role,
        waiting: mpsc::Receiver<SpanData>,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let builder = SpanExporter::builder()
            .with_http()
            .with_endpoint(collector.traces())
            .with_timeout(TIMEOUT);
        let builder = if collector.is_https() {
            let connector = HttpsConnectorBuilder::new()
                .with_native_roots()
                .map_err(|error| format!("telemetry.otlp_endpoint: no certificates: {error}"))?;
            let connector = connector.https_only().enable_http1().build();
            builder.with_http_client(Courier::new(connector))
        } else {
            builder.with_http_client(Courier::new(HttpConnector::new()))
        };
        let exporter = builder.build();
        let mut exporter = exporter.map_err(|error| format!("telemetry.otlp_endpoint: {error}"))?;
        exporter.set_resource(&resource(role));
        let stop = CancellationToken::new();
        let sending = Sending {
            exporter,
            waiting,
            told: metrics.spans.get_or_create_owned(&"told".into()),
            lost: metrics.spans.get_or_create_owned(&"lost".into()),
            failing: false,
        };
        let task = tokio::spawn(sending.run(stop.clone()));
        Ok(Self { stop, task })
    }

    /// Sends what is waiting, if the collector takes it in time.
    pub(super) async fn finish(self, patience: Duration) {
        self.stop.cancel();
        let _ = tokio::time::timeout(patience, self.task).await;
    }
}

/// Who tells.
fn resource(role: Role) -> Resource {
    let service = match role {
        Role::All => "banter".to_owned(),
        part => format!("banter-{part}"),
    };
    Resource::builder_empty()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", Uuid::now_v7().to_string()),
        ])
        .build()
}

struct Sending {
    exporter: SpanExporter,
    waiting: mpsc::Receiver<SpanData>,
    told: Counter,
    lost: Counter,
    failing: bool,
}

impl Sending {
    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        while !stop.is_cancelled() {
            tokio::select! {
                first = self.waiting.recv() => match first {
                    Some(first) => batch.push(first),
                    None => return,
                },
                () = stop.cancelled() => break,
            }
            let lingered = tokio::time::sleep(LINGER);
            tokio::pin!(lingered);
            while batch.len() < BATCH_MAX {
                let room = BATCH_MAX - batch.len();
                tokio::select! {
                    _ = self.waiting.recv_many(&mut batch, room) => {}
                    () = &mut lingered => break,
                    () = stop.cancelled() => break,
                }
            }
            self.send(&mut batch).await;
        }
        self.waiting.close();
        while self.waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.send(&mut batch).await;
        }
    }

    async fn send(&mut self, batch: &mut Vec<SpanData>) {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        match self.exporter.export(std::mem::take(batch)).await {
            Ok(()) => {
                self.told.inc_by(spans);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the collector takes traces again");
                }
            }
            Err(error) => {
                self.lost.inc_by(spans);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "the collector takes no traces; they are lost");
                }
            }
        }
    }
}

/// Sends requests over connections of this kind.
#[derive(Debug)]
struct Courier<C>(Client<C, Full<Bytes>>);

impl<C: Connect + Clone + Send + Sync + 'static> Courier<C> {
    fn new(connector: C) -> Self {
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl<C: Connect + Clone + Debug + Send + Sync + 'static> HttpClient for Courier<C> {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let exchange = async {
                let answer = self.0.request(request.map(Full::from)).await?;
                let (head, body) = answer.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
                Ok(Response::from_parts(head, body.to_bytes()))
            };
            tokio::time::timeout(TIMEOUT, exchange).await?
        })
    }
}
