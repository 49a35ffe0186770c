//! The cookie that holds a browser's refresh token, out of reach of the page's scripts.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

/// The calls that get to see it.
const PATH: &str = "/v1/auth";

/// How this server's cookie is called and made.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefreshCookie {
    secure: bool,
}

impl RefreshCookie {
    /// For a server that browsers reach through TLS, or not.
    pub(super) const fn new(secure: bool) -> Self {
        Self { secure }
    }

    const fn name(self) -> &'static str {
        if self.secure {
            "__Secure-banter_refresh"
        } else {
            "banter_refresh"
        }
    }

    /// The header that keeps a token for so long; for no time at all it is forgotten.
    pub(super) fn set(self, token: &str, lifetime: Duration) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!(
            "{}={token}; Path={PATH}; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
            self.name(),
            lifetime.as_secs()
        );
        let mut value =
            HeaderValue::try_from(text).expect("a token in base64url can stand in a header");
        value.set_sensitive(true);
        value
    }

    /// The token that a request brings.
    pub(super) fn find(self, headers: &HeaderMap) -> Option<&str> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == self.name())
            .map(|(_, token)| token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_for_the_server_alone() {
        let day = Duration::from_secs(86_400);
        assert_eq!(
            RefreshCookie::new(true).set("abc", day),
            "__Secure-banter_refresh=abc; Path=/v1/auth; Max-Age=86400; HttpOnly; \
             SameSite=Strict; Secure"
        );
        assert_eq!(
            RefreshCookie::new(false).set("", Duration::ZERO),
            "banter_refresh=; Path=/v1/auth; Max-Age=0; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn it_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=b; banter_refresh=abc;c".parse().unwrap());
        headers.append(
            header::COOKIE,
            "__Secure-banter_refresh=def".parse().unwrap(),
        );
        assert_eq!(RefreshCookie::new(false).find(&headers), Some("abc"));
        assert_eq!(RefreshCookie::new(true).find(&headers), Some("def"));
        headers.clear();
        assert_eq!(RefreshCookie::new(false).find(&headers), None);
    }
}
