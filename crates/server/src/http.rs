//! HTTP as all steps use it: the listener with its time limits, and what handlers are given.

mod body;
mod extract;
mod listen;
mod peer;

pub use body::Body;
pub(crate) use body::{optional, required};
pub use extract::{Authenticated, ChannelPath, PageQuery, bearer_token};
pub use listen::{Routes, Upgraded, serve};
pub use peer::{Peer, Socket};

use axum::Router;
use axum::response::IntoResponse as _;
use banter_protocol::error::Code;

use crate::problem::Problem;

/// Gives a router the answers that every path needs: problems instead of empty bodies.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async || Problem::from(Code::RouteNotFound))
        .method_not_allowed_fallback(async || Problem::from(Code::MethodNotAllowed).into_response())
}
