//! The calls of this step.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use banter_protocol::error::Code;
use banter_protocol::id::UserId;
use banter_protocol::text::Username;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cookie::RefreshCookie;
use super::jwks::Jwks;
use super::session::{Issued, Refusal};
use crate::app::AuthApp;
use crate::clock;
use crate::http::{Body, Peer, optional};
use crate::problem::{Problem, ProblemBody};

/// The routes of this step.
pub fn routes() -> OpenApiRouter<AuthApp> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(log_in))
        .routes(routes!(refresh))
        .routes(routes!(log_out))
        .routes(routes!(jwks))
}

/// Who wants to be let in.
#[derive(Deserialize, ToSchema)]
struct Credentials {
    /// Folded to lower case.
    #[schema(min_length = 3, max_length = 32, pattern = "^[A-Za-z0-9._-]+$")]
    username: String,
    /// Taken verbatim: 8 characters to 1,024 bytes, and not a common one.
    #[schema(min_length = 8, format = Password)]
    password: String,
    /// Where the refresh token goes; `token` unless given.
    session: Option<Keeping>,
}

/// Where a refresh token is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Keeping {
    /// By the client: it stands in the body.
    #[default]
    Token,
    /// By the browser, as a cookie that no script can read.
    Cookie,
}

/// A session to go on with, or to end.
#[derive(Default, Deserialize, ToSchema)]
struct RefreshForm {
    /// Absent where the cookie holds it.
    refresh_token: Option<String>,
}

/// A session's tokens.
#[derive(Serialize, ToSchema)]
struct Tokens {
    /// For `Authorization: Bearer` and the socket's `hello`.
    access_token: String,
    /// How it is presented.
    #[schema(pattern = "^Bearer$")]
    token_type: &'static str,
    /// Seconds that the access token is good.
    expires_in: u64,
    /// Whose.
    user: UserView,
    /// Good once; absent where a cookie holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<String>,
}

/// An account, as others see it.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
struct UserView {
    /// For ever.
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    /// For ever too.
    #[schema(value_type = String)]
    username: Username,
}

/// Makes an account and begins its first session.
#[utoipa::path(
    post,
    path = "/v1/auth/register",
    operation_id = "register",
    tag = "auth",
    request_body = Credentials,
    responses(
        (status = 201, body = Tokens, headers(
            ("Set-Cookie" = String, description = "The refresh token, with `cookie`."))),
        (status = 403, body = ProblemBody, content_type = "application/problem+json",
         description = "`registration_closed`."),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "`username_taken`."),
        (status = 429, body = ProblemBody, content_type = "application/problem+json",
         description = "`too_many_requests`: too many logins of this address."),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn register(
    State(app): State<AuthApp>,
    peer: Peer,
    Body(form): Body<Credentials>,
) -> Result<Response, Problem> {
    let (username, password) = (&form.username, &form.password);
    let issued = app
        .login
        .register(username, password, peer.counted(), clock::now())
        .await?;
    let keeping = form.session.unwrap_or_default();
    Ok((StatusCode::CREATED, tokens(&app, issued, keeping)).into_response())
}

/// Begins a session.
#[utoipa::path(
    post,
    path = "/v1/auth/login",
    operation_id = "log_in",
    tag = "auth",
    request_body = Credentials,
    responses(
        (status = 200, body = Tokens, headers(
            ("Set-Cookie" = String, description = "The refresh token, with `cookie`."))),
        (status = 401, body = ProblemBody, content_type = "application/problem+json",
         description = "`login_failed`: unknown user, wrong password or disabled account."),
        (status = 429, body = ProblemBody, content_type = "application/problem+json",
         description = "`login_throttled`: too many failures of this account, or \
                        `too_many_requests`: too many logins of this address."),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn log_in(
    State(app): State<AuthApp>,
    peer: Peer,
    Body(form): Body<Credentials>,
) -> Result<Response, Problem> {
    let (username, password) = (&form.username, &form.password);
    let issued = app
        .login
        .log_in(username, password, peer.counted(), clock::now())
        .await?;
    let keeping = form.session.unwrap_or_default();
    Ok(tokens(&app, issued, keeping).into_response())
}

/// Takes a refresh token for new tokens.
///
/// The one before the newest gets the same answer again for 10 seconds; an older one ends the
/// session.
#[utoipa::path(
    post,
    path = "/v1/auth/refresh",
    operation_id = "refresh",
    tag = "auth",
    request_body(content = RefreshForm, description = "May be left out with a cookie."),
    responses(
        (status = 200, body = Tokens, headers(
            ("Set-Cookie" = String, description = "The refresh token, with a cookie."))),
        (status = 401, body = ProblemBody, content_type = "application/problem+json",
         description = "`refresh_invalid`."),
        (status = 403, body = ProblemBody, content_type = "application/problem+json",
         description = "`origin_refused`: with a cookie, an allowed `Origin` is demanded."),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn refresh(State(app): State<AuthApp>, request: Request) -> Result<Response, Problem> {
    let (token, keeping) = presented(&app, request).await?;
    let issued = app.login.refresh(&token, clock::now()).await?;
    Ok(tokens(&app, issued, keeping).into_response())
}

/// Ends a session: its refresh tokens, access tokens and sockets.
#[utoipa::path(
    post,
    path = "/v1/auth/logout",
    operation_id = "log_out",
    tag = "auth",
    request_body(content = RefreshForm, description = "May be left out with a cookie."),
    responses(
        (status = 204, description = "The session has ended."),
        (status = 401, body = ProblemBody, content_type = "application/problem+json",
         description = "`refresh_invalid`."),
        (status = 403, body = ProblemBody, content_type = "application/problem+json",
         description = "`origin_refused`: with a cookie, an allowed `Origin` is demanded."),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn log_out(State(app): State<AuthApp>, request: Request) -> Result<Response, Problem> {
    let (token, keeping) = presented(&app, request).await?;
    app.login.log_out(&token, clock::now()).await?;
    let mut headers = HeaderMap::new();
    if keeping == Keeping::Cookie {
        let forgotten = cookie(&app).set("", Duration::ZERO);
        headers.insert(header::SET_COOKIE, forgotten);
    }
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// The public keys of access tokens.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "jwks",
    tag = "auth",
    responses(
        (status = 200, body = Jwks),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn jwks(State(app): State<AuthApp>) -> Response {
    let cached = [(header::CACHE_CONTROL, "max-age=300")];
    (cached, Json(app.login.verifier().jwks())).into_response()
}

/// The refresh token of a request, and where it is kept. A cookie comes along with whatever page
/// asks for it, so the page must be one of ours.
async fn presented(app: &AuthApp, request: Request) -> Result<(String, Keeping), Problem> {
    let headers = request.headers().clone();
    let form: RefreshForm = optional(request).await?;
    if let Some(token) = form.refresh_token {
        return Ok((token, Keeping::Token));
    }
    let token = cookie(app).find(&headers).ok_or(Code::RefreshInvalid)?;
    if !comes_from_our_page(app, &headers) {
        return Err(Code::OriginRefused.into());
    }
    Ok((token.to_owned(), Keeping::Cookie))
}

fn comes_from_our_page(app: &AuthApp, headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return false;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    origin
        .to_str()
        .is_ok_and(|origin| app.allows_origin(origin, host))
}

fn cookie(app: &AuthApp) -> RefreshCookie {
    RefreshCookie::new(app.public_origin.is_https())
}

/// The answer with a session's tokens, which nobody between may keep.
fn tokens(app: &AuthApp, issued: Issued, keeping: Keeping) -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut refresh_token = Some(issued.refresh_token);
    if keeping == Keeping::Cookie
        && let Some(token) = refresh_token.take()
    {
        let kept = cookie(app).set(&token, app.settings.auth.session_idle_ttl);
        headers.insert(header::SET_COOKIE, kept);
    }
    let tokens = Tokens {
        access_token: issued.access_token,
        token_type: "Bearer",
        expires_in: issued.expires_in,
        user: UserView {
            id: issued.account.id,
            username: issued.account.username,
        },
        refresh_token,
    };
    (headers, Json(tokens))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Code(code) => code.into(),
            Refusal::Until(code, wait) => Self::from(code).retry_after(wait),
            Refusal::Fields(fields) => {
                Self::of_fields(fields).unwrap_or_else(|| Code::Internal.into())
            }
            Refusal::Storage(error) => error.into(),
            Refusal::Internal(error) => {
                tracing::error!(error, "a login was answered with 500");
                Code::Internal.into()
            }
        }
    }
}

#[cfg(test)]
mod tests;
