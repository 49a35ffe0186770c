//! What handlers ask of a request: who it is from, which channel, which page.

use axum::extract::{FromRequestParts, Path, RawQuery};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use banter_protocol::error::Code;
use banter_protocol::id::ChannelId;
use banter_protocol::limit;
use banter_protocol::session::Identity;

use crate::app::App;
use crate::login::Denied;
use crate::problem::Problem;

/// The account whose valid access token came with the request.
#[derive(Debug, Clone)]
pub struct Authenticated(pub Identity);

impl FromRequestParts<App> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let token = bearer_token(&parts.headers)?;
        app.verifier
            .verify_patiently(token, crate::clock::now_ms())
            .await
            .map(Self)
            .map_err(|denied| match denied {
                Denied::Expired => Code::TokenExpired.into(),
                Denied::Invalid | Denied::SessionEnded | Denied::AccountDisabled => {
                    Code::TokenInvalid.into()
                }
            })
    }
}

/// The one Bearer token of a request.
///
/// # Errors
/// `token_missing` without an `Authorization` header, `token_invalid` for anything but one token.
pub fn bearer_token(headers: &HeaderMap) -> Result<&str, Code> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Code::TokenMissing)?;
    if values.next().is_some() {
        return Err(Code::TokenInvalid);
    }
    let text = value.to_str().map_err(|_| Code::TokenInvalid)?;
    let (scheme, token) = text.split_once(' ').ok_or(Code::TokenInvalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Code::TokenInvalid);
    }
    Ok(token)
}

/// The `{id}` of a channel's path. What is no id names no channel.
#[derive(Debug, Clone, Copy)]
pub struct ChannelPath(pub ChannelId);

impl<S: Send + Sync> FromRequestParts<S> for ChannelPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let missing = || Problem::from(Code::ChannelNotFound);
        let Path(segments) = Path::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| missing())?;
        let id = segments.first().and_then(|(_, id)| id.parse().ok());
        id.map(Self).ok_or_else(missing)
    }
}

/// `?limit=&cursor=` of a list, and whatever else stands in the query.
#[derive(Debug, Clone)]
pub struct PageQuery {
    pairs: Vec<(String, String)>,
    /// Items a page, clamped to the largest.
    pub limit: u32,
}

impl PageQuery {
    /// The value of a parameter; the first, where it stands twice.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| &**value)
    }

    /// The value of a parameter that is a number from 0 to 2^53 - 1.
    ///
    /// # Errors
    /// `parameter_invalid` for anything else.
    pub fn number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(number) if digits && number <= limit::INTEGER_MAX => Ok(Some(number)),
            _ => Err(Problem::from(Code::ParameterInvalid).field(name)),
        }
    }

    /// The value of a parameter that is `true` or `false`; absent: false.
    ///
    /// # Errors
    /// `parameter_invalid` for anything else.
    pub fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::from(Code::ParameterInvalid).field(name)),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let RawQuery(query) = RawQuery::from_request_parts(parts, state)
            .await
            .unwrap_or(RawQuery(None));
        let pairs = serde_urlencoded::from_str(query.as_deref().unwrap_or_default())
            .map_err(|_| Problem::from(Code::ParameterInvalid))?;
        let mut page = Self {
            pairs,
            limit: limit::PAGE_DEFAULT,
        };
        let clamp = |asked: u64| {
            u32::try_from(asked)
                .unwrap_or(u32::MAX)
                .min(limit::PAGE_MAX)
        };
        match page.number("limit") {
            Ok(Some(0)) => return Err(Problem::from(Code::ParameterInvalid).field("limit")),
            Ok(asked) => page.limit = asked.map_or(limit::PAGE_DEFAULT, clamp),
            // A number too large for us is still only a large page.
            Err(problem) => match page.get("limit") {
                Some(text) if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() => {
                    page.limit = limit::PAGE_MAX;
                }
                _ => return Err(problem),
            },
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bearer_token_and_nothing_else() {
        let token = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer_token(&headers).map(str::to_owned)
        };
        assert_eq!(token(&["Bearer abc"]), Ok("abc".to_owned()));
        assert_eq!(token(&["bearer abc"]), Ok("abc".to_owned()));
        assert_eq!(token(&[]), Err(Code::TokenMissing));
        for bad in [
            &["Basic abc"][..],
            &["Bearer"],
            &["Bearer "],
            &["Bearer a", "Bearer a"],
        ] {
            assert_eq!(token(bad), Err(Code::TokenInvalid), "{bad:?}");
        }
    }
}
