//! What goes wrong, as HTTP tells it: RFC 9457, with stable codes and nothing of the inside.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use banter_protocol::error::Code;
use serde::Serialize;
use utoipa::ToSchema;

/// An answer that refuses a request.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
}

/// Which field was refused, and why.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FieldError {
    /// The field of the body, or the parameter.
    pub field: Cow<'static, str>,
    /// The stable reason.
    #[schema(value_type = String)]
    pub code: Code,
}

/// The body of every refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// A URI for the kind of problem, made from the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence for people.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is special about this case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub detail: Option<Cow<'static, str>>,
    /// The stable reason.
    #[schema(value_type = String)]
    pub code: Code,
    /// With status 422: the refused fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// Adds what is special about this case.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Names the field that was refused.
    #[must_use]
    pub fn field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        let code = self.code;
        self.errors.push(FieldError {
            field: field.into(),
            code,
        });
        self
    }

    /// A 422 about several fields; its code is that of the first.
    #[must_use]
    pub fn of_fields(errors: Vec<(&'static str, Code)>) -> Option<Self> {
        let first = errors.first()?.1;
        let errors = errors
            .into_iter()
            .map(|(field, code)| FieldError {
                field: field.into(),
                code,
            })
            .collect();
        Some(Self {
            errors,
            ..Self::from(first)
        })
    }

    /// Tells when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The stable reason.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// When to try again, where that is known.
    #[must_use]
    pub const fn retry_delay(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self {
            code,
            detail: None,
            errors: Vec::new(),
            retry_after: None,
        }
    }
}

impl From<banter_storage::Error> for Problem {
    /// Logged here, where it is handled; the answer says nothing of it.
    fn from(error: banter_storage::Error) -> Self {
        let code = match error {
            banter_storage::Error::Unavailable(_) => Code::Unavailable,
            banter_storage::Error::Overloaded => Code::Overloaded,
            _ => Code::Internal,
        };
        if code == Code::Internal {
            tracing::error!(%error, "answered with 500");
        } else {
            tracing::warn!(%error, "answered with 503");
        }
        code.into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: format!("urn:banter:problem:{}", self.code),
            title: self.code.title(),
            status: self.code.status(),
            detail: self.detail,
            code: self.code,
            errors: self.errors,
        };
        let status =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let after = self.retry_after.unwrap_or(Duration::from_secs(1));
                // Whole seconds, rounded up: coming back too early would be refused again.
                let seconds = after.as_millis().div_ceil(1000).max(1).to_string();
                if let Ok(value) = HeaderValue::from_str(&seconds) {
                    headers.insert(header::RETRY_AFTER, value);
                }
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                let version = HeaderValue::from_static("13");
                headers.insert(header::SEC_WEBSOCKET_VERSION, version);
            }
            _ => {}
        }
        response
    }
}
