//! Pages of lists: where one ends, and how the next is asked for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use banter_protocol::error::Code;

use crate::http::PageQuery;
use crate::problem::Problem;

/// A page of a list.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct List<T> {
    /// As many as asked for, unless it is the last page.
    pub items: Vec<T>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    pub next: Option<String>,
}

/// Which list a cursor belongs to: one of another list is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    Channels = 1,
    Members = 2,
    Webhooks = 3,
}

/// How many rows to read for a page: one more tells whether there is another page.
pub(crate) const fn rows(query: &PageQuery) -> u32 {
    query.limit + 1
}

/// The id after which the page begins; `None` for the first page.
///
/// # Errors
/// `parameter_invalid` for what this server never gave out as a cursor.
pub(crate) fn after(listed: Listed, query: &PageQuery) -> Result<Option<[u8; 16]>, Problem> {
    let Some(text) = query.get("cursor") else {
        return Ok(None);
    };
    match decode(listed, text) {
        Some(id) => Ok(Some(id)),
        None => Err(Problem::from(Code::ParameterInvalid).field("cursor")),
    }
}

/// The page of at most `limit` of `rows`, which are one more where there is another page.
pub(crate) fn page<R, T: From<R>>(
    listed: Listed,
    mut rows: Vec<R>,
    limit: u32,
    id: impl Fn(&R) -> [u8; 16],
) -> List<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|last| encode(listed, id(last)));
    List {
        items: rows.into_iter().map(T::from).collect(),
        next,
    }
}

fn encode(listed: Listed, id: [u8; 16]) -> String {
    let mut bytes = [listed as u8; 17];
    bytes[1..].copy_from_slice(&id);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(listed: Listed, text: &str) -> Option<[u8; 16]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (&first, id) = bytes.split_first()?;
    if first == listed as u8 {
        id.try_into().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_by_the_list_that_gave_them() {
        let cursor = encode(Listed::Channels, [7; 16]);
        assert_eq!(decode(Listed::Channels, &cursor), Some([7; 16]));
        assert_eq!(decode(Listed::Members, &cursor), None);
        for bad in [
            "",
            "A",
            "!",
            &cursor[1..],
            &format!("{cursor}AA"),
            &format!("{cursor}="),
        ] {
            assert_eq!(decode(Listed::Channels, bad), None, "{bad}");
        }
    }

    #[test]
    fn only_a_page_with_more_behind_it_has_a_next() {
        let cut = |rows: Vec<u8>| page::<u8, u8>(Listed::Channels, rows, 2, |n| [*n; 16]);
        let whole = List {
            items: vec![1, 2],
            next: None,
        };
        assert_eq!(cut(vec![1, 2]), whole);
        let next = Some(encode(Listed::Channels, [2; 16]));
        assert_eq!(cut(vec![1, 2, 3]), List { next, ..whole });
        assert_eq!(
            cut(vec![]),
            List {
                items: vec![],
                next: None
            }
        );
    }
}
