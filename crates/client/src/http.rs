//! One HTTP call after another, over a small pool of connections.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::error::{Error, Problem, root};

/// To open a connection: name look-up, TCP and TLS.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From sending a request to the whole answer; hashing passwords may queue on a busy server.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Shorter than the server's 60 s, so that a kept connection is not just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer: a page of 200 messages of 16 KiB, escaped.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A stream to the server, encrypted where its address says so.
pub(crate) type Stream = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// A server and how to reach it.
#[derive(Debug)]
pub(crate) struct Http {
    /// The address without a slash at its end.
    server: String,
    uri: Uri,
    connector: HttpsConnector<HttpConnector>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What to ask.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    /// The `Idempotency-Key`.
    pub(crate) key: Option<&'a str>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Http {
    /// A server at an `http://` or `https://` address.
    pub(crate) fn new(server: &str) -> Result<Self, Error> {
        let bad = || Error::Address(server.to_owned());
        let uri: Uri = server.parse().map_err(|_| bad())?;
        let scheme = uri.scheme_str().ok_or_else(bad)?;
        let known = matches!(scheme, "http" | "https");
        if !known || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(bad());
        }
        let connector = connector(scheme == "https")?;
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(4)
            .build(connector.clone());
        Ok(Self {
            server: server.trim_end_matches('/').to_owned(),
            uri,
            connector,
            client,
        })
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Where sockets are opened.
    pub(crate) fn socket_uri(&self) -> Result<Uri, Error> {
        // http becomes ws, https becomes wss.
        let text = format!("ws{}/v1/connect", &self.server["http".len()..]);
        text.parse()
            .map_err(|_| Error::Address(self.server.clone()))
    }

    /// A connection of one's own.
    pub(crate) async fn dial(&self) -> Result<Stream, Error> {
        let dialled = self.connector.clone().call(self.uri.clone());
        match tokio::time::timeout(CONNECT_TIMEOUT, dialled).await {
            Ok(Ok(stream)) => Ok(TokioIo::new(stream)),
            Ok(Err(e)) => Err(self.unreachable(root(&*e))),
            Err(_) => Err(self.unreachable("no answer in time".into())),
        }
    }

    /// Asks, and reads the whole answer; anything but a 2xx is an error.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Bytes, Error> {
        let exchange = async {
            let request = self.request(call)?;
            let sent = self.client.request(request).await;
            let answer = sent.map_err(|e| self.unreachable(root(&e)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|e| self.unreachable(root(&*e)))?.to_bytes();
            Ok((head, body))
        };
        let timed = tokio::time::timeout(CALL_TIMEOUT, exchange).await;
        let (head, body) = timed.map_err(|_| self.unreachable("no answer in time".into()))??;
        if head.status.is_success() {
            return Ok(body);
        }
        Err(self.refused(&Response::from_parts(head, body)))
    }

    /// Reads an answer's JSON.
    pub(crate) fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|e| self.foreign(e.to_string()))
    }

    pub(crate) fn foreign(&self, reason: String) -> Error {
        Error::Foreign {
            server: self.server.clone(),
            reason,
        }
    }

    pub(crate) fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable {
            server: self.server.clone(),
            reason,
        }
    }

    fn request(&self, call: Call<'_>) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.server, call.path))
            .header(USER_AGENT, concat!("banter/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = call.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = call.key {
            request = request.header("idempotency-key", key);
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::from(call.body.unwrap_or_default()))
            .map_err(|e| self.foreign(e.to_string()))
    }

    /// What an answer that is no success says.
    pub(crate) fn refused(&self, answer: &Response<Bytes>) -> Error {
        let status = answer.status();
        let retry_after = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        if let Ok(problem) = serde_json::from_slice::<Problem>(answer.body()) {
            return Error::Refused(Box::new(Problem {
                retry_after,
                ..problem
            }));
        }
        // A proxy speaks: what it says of itself may pass, the rest is another kind of server.
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Error::Refused(Box::new(Problem {
                status: status.as_u16(),
                code: String::new(),
                title: format!("the server answers {status}"),
                detail: None,
                retry_after,
            }));
        }
        self.foreign(format!("it answers {status}"))
    }
}

fn connector(tls: bool) -> Result<HttpsConnector<HttpConnector>, Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    // A socket that says nothing for long must not be forgotten by the routers between.
    http.set_keepalive(Some(Duration::from_secs(60)));
    let builder = HttpsConnectorBuilder::new();
    // Reading the system's certificates takes a while, and a small container may have none.
    let builder = if tls {
        builder.with_native_roots().map_err(|_| Error::Store {
            path: "the system's certificates".into(),
            source: std::io::Error::other("none found; SSL_CERT_FILE can name a file of them"),
        })?
    } else {
        builder.with_tls_config(
            rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth(),
        )
    };
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

/// A text as part of a query.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_scheme_and_a_host() {
        for bad in [
            "",
            "localhost:8080",
            "ws://a",
            "http://",
            "/x",
            "http://a?b",
        ] {
            assert!(Http::new(bad).is_err(), "{bad}");
        }
        let http = Http::new("http://127.0.0.1:8080/").unwrap();
        assert_eq!(http.server(), "http://127.0.0.1:8080");
        let uri = http.socket_uri().unwrap();
        assert_eq!(uri.to_string(), "ws://127.0.0.1:8080/v1/connect");
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escape("a b&ü~"), "a%20b%26%C3%BC~");
    }
}
