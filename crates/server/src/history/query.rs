//! Where in a channel a request for history points.

use banter_protocol::error::Code;
use banter_storage::entries::Anchor;

use crate::http::PageQuery;
use crate::problem::Problem;

/// The place that the query names, at most one.
///
/// # Errors
/// `parameter_invalid` for two of them, or for what is no number from 0 to 2^53 - 1.
pub(super) fn anchor(query: &PageQuery) -> Result<Anchor, Problem> {
    choose(
        query.number("before")?,
        query.number("after")?,
        query.number("around")?,
    )
}

fn choose(before: Option<u64>, after: Option<u64>, around: Option<u64>) -> Result<Anchor, Problem> {
    match (before, after, around) {
        (None, None, None) => Ok(Anchor::Newest),
        (Some(n), None, None) => Ok(Anchor::Before(n)),
        (None, Some(n), None) => Ok(Anchor::After(n)),
        (None, None, Some(n)) => Ok(Anchor::Around(n)),
        (before, ..) => {
            let second = if before.is_some() && after.is_some() {
                "after"
            } else {
                "around"
            };
            Err(Problem::from(Code::ParameterInvalid).field(second))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_at_most() {
        assert_eq!(choose(None, None, None).unwrap(), Anchor::Newest);
        assert_eq!(choose(Some(7), None, None).unwrap(), Anchor::Before(7));
        assert_eq!(choose(None, Some(0), None).unwrap(), Anchor::After(0));
        assert_eq!(choose(None, None, Some(1)).unwrap(), Anchor::Around(1));
        for (before, after, around) in [
            (Some(1), Some(1), None),
            (Some(1), None, Some(1)),
            (None, Some(1), Some(1)),
            (Some(1), Some(1), Some(1)),
        ] {
            let refused = choose(before, after, around).unwrap_err();
            assert_eq!(refused.code(), Code::ParameterInvalid);
        }
    }
}
