//! Labels. Their values are the server's own words: a client's text would let anyone make series
//! without end.

use prometheus_client::encoding::EncodeLabelSet;

macro_rules! labels {
    ($($(#[$doc:meta])* $label:ident, $field:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
            pub struct $label {
                /// The label's value.
                pub $field: &'static str,
            }

            impl From<&'static str> for $label {
                fn from($field: &'static str) -> Self {
                    Self { $field }
                }
            }
        )*
    };
}

labels! {
    /// Why.
    Reason, reason;
    /// How it went.
    Outcome, outcome;
    /// What was done about it.
    Action, action;
    /// What it was for.
    Cause, cause;
    /// The stable code of a refusal.
    ErrorCode, code;
    /// Which way.
    Direction, direction;
    /// How safe an entry is that was acknowledged.
    Safety, level;
    /// Whether it was put right.
    Repaired, repaired;
    /// Which of the limits.
    Scope, scope;
    /// How far a socket has come.
    State, state;
    /// The running version.
    Version, version;
    /// Something this process needs.
    Needed, dependency;
    /// How far a heartbeat has come.
    Station, stage;
    /// What gateways are compared by.
    Measure, measure;
}

/// A request's labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// The route's template, or `unmatched`.
    pub route: String,
    /// The method.
    pub method: &'static str,
    /// The status.
    pub code: u16,
}

/// One label: which route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Route {
    /// The route's template, or `unmatched`.
    pub route: String,
}

/// A request to something this process needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Errand {
    /// What was asked.
    pub dependency: &'static str,
    /// What for.
    pub operation: &'static str,
    /// `ok` or `error`.
    pub outcome: &'static str,
}
