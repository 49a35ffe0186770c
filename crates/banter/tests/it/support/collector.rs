//! An OTLP collector, as small as one can be: it takes traces over HTTP and keeps them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message as _;

use super::logs;

/// A span, and the service that told it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) service: String,
    pub(crate) span: Span,
}

/// A collector that listens as long as the tests run.
#[derive(Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let bodies = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = bodies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                std::thread::spawn(move || take(&stream, &kept));
            }
        });
        Self { address, bodies }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span that it was told of.
    pub(crate) fn told(&self) -> Vec<Told> {
        let bodies = self.bodies.lock().expect("no reader panics");
        let resources = bodies.iter().flat_map(|body| {
            let request = ExportTraceServiceRequest::decode(&body[..]);
            request.expect("OTLP").resource_spans
        });
        resources.flat_map(spans).collect()
    }

    /// Nothing that it was sent looks like a token, a password or what somebody wrote.
    #[track_caller]
    pub(crate) fn kept_secrets(&self) {
        for body in self.bodies.lock().expect("no reader panics").iter() {
            let text = String::from_utf8_lossy(body);
            let found = text.split(|c: char| !c.is_ascii_graphic() && c != ' ');
            let found: Vec<_> = found.filter(|part| logs::is_secret(part)).collect();
            assert!(found.is_empty(), "{found:?}");
        }
    }
}

fn spans(resource: ResourceSpans) -> Vec<Told> {
    let attributes = resource.resource.expect("a resource").attributes;
    let service = attributes.iter().find(|pair| pair.key == "service.name");
    let service = service.and_then(|pair| pair.value.as_ref()?.value.as_ref());
    let Some(Any::StringValue(service)) = service else {
        panic!("no service.name: {attributes:?}");
    };
    let scopes = resource.scope_spans.into_iter();
    let told = |span| Told {
        service: service.clone(),
        span,
    };
    scopes.flat_map(|scope| scope.spans).map(told).collect()
}

/// Takes the requests of a connection.
fn take(stream: &TcpStream, kept: &Mutex<Vec<Vec<u8>>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length
            .and_then(|length| length.parse().ok())
            .expect("a length");
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        kept.lock().expect("no reader panics").push(body);
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\
                      Content-Length: 0\r\n\r\n";
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
