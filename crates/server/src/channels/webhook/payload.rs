//! What Slack's incoming webhooks take, as far as a message of ours can say it: the text or, where
//! there is none, the words of the attachments. Everything else is ignored.

use serde::Deserialize;
use utoipa::ToSchema;

use banter_protocol::error::Code;
use banter_protocol::limit;
use banter_protocol::text::Body;

use crate::problem::Problem;

/// What tells that a text goes on.
const MORE: &str = "\n…";

/// A message for an incoming webhook, as Slack takes it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WebhookPayload)]
pub(super) struct Payload {
    /// The message, taken verbatim: at most 16,384 bytes of UTF-8, no U+0000.
    text: Option<String>,
    /// Without a text: what the message is made of.
    attachments: Option<Vec<Attachment>>,
}

/// A part of a message, as older senders know it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = WebhookAttachment)]
pub(super) struct Attachment {
    /// Stands above the title.
    pretext: Option<String>,
    /// What it is about.
    title: Option<String>,
    /// What it says.
    text: Option<String>,
    /// The whole in plain words; used where there is nothing else.
    fallback: Option<String>,
}

impl Payload {
    /// The message.
    ///
    /// # Errors
    /// `field_missing` where it says nothing, `body_invalid` where that is no message.
    pub(super) fn message(self) -> Result<Body, Problem> {
        let text = match self.text {
            Some(text) if !text.trim().is_empty() => text,
            blank => match compose(&self.attachments.unwrap_or_default()) {
                Some(composed) => composed,
                None => blank.ok_or(Problem::from(Code::FieldMissing).field("text"))?,
            },
        };
        Body::parse(&text).map_err(|code| Problem::from(code).field("text"))
    }
}

/// The words of all attachments, a blank line between two. What is too long for a message ends
/// with a mark that says so: an alert that nobody gets is worse than a part of one.
fn compose(attachments: &[Attachment]) -> Option<String> {
    let parts: Vec<String> = attachments.iter().filter_map(Attachment::words).collect();
    let mut text = parts.join("\n\n");
    if text.len() > limit::BODY_BYTES_MAX {
        text.truncate(text.floor_char_boundary(limit::BODY_BYTES_MAX - MORE.len()));
        text.push_str(MORE);
    }
    (!text.is_empty()).then_some(text)
}

impl Attachment {
    fn words(&self) -> Option<String> {
        let said = |field: &Option<String>| {
            let text = field.as_deref().unwrap_or_default().trim_end();
            (!text.trim().is_empty()).then(|| text.to_owned())
        };
        let lines = [&self.pretext, &self.title, &self.text];
        let lines: Vec<String> = lines.into_iter().filter_map(said).collect();
        if lines.is_empty() {
            return said(&self.fallback);
        }
        Some(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Result<String, Code> {
        let payload: Payload = serde_json::from_str(json).unwrap();
        let body = payload.message().map_err(|problem| problem.code())?;
        Ok(body.as_str().to_owned())
    }

    #[test]
    fn the_text_is_taken_verbatim_and_alone() {
        for (json, expected) in [
            (r#"{"text":" a <b> &amp; \n"}"#, Ok(" a <b> &amp; \n")),
            (
                r#"{"text":"a","attachments":[{"title":"b"}],"channel":"elsewhere"}"#,
                Ok("a"),
            ),
            (r#"{"text":" ","attachments":[{"title":"b"}]}"#, Ok("b")),
            (r#"{"text":" "}"#, Err(Code::BodyInvalid)),
            (r#"{"text":"a\u0000"}"#, Err(Code::BodyInvalid)),
            ("{}", Err(Code::FieldMissing)),
            (
                r#"{"attachments":[{"title":" ","fallback":""}]}"#,
                Err(Code::FieldMissing),
            ),
        ] {
            assert_eq!(message(json), expected.map(str::to_owned), "{json}");
        }
        let longest = "é".repeat(limit::BODY_BYTES_MAX / 2);
        assert!(message(&format!(r#"{{"text":"{longest}"}}"#)).is_ok());
        let longer = message(&format!(r#"{{"text":"{longest}x"}}"#));
        assert_eq!(longer, Err(Code::BodyInvalid), "never cut");
    }

    #[test]
    fn attachments_become_lines() {
        let json = r#"{"attachments":[
            {"pretext":"p","title":"t","text":"one\ntwo\n","fallback":"f","color":"danger"},
            {"fallback":"only this","text":""},
            {"title":null}
        ]}"#;
        assert_eq!(message(json), Ok("p\nt\none\ntwo\n\nonly this".to_owned()));
    }

    #[test]
    fn long_attachments_end_with_a_mark() {
        let long = "é".repeat(limit::BODY_BYTES_MAX);
        let text = message(&format!(r#"{{"attachments":[{{"text":"{long}"}}]}}"#)).unwrap();
        assert!(text.ends_with("é\n…") && text.len() <= limit::BODY_BYTES_MAX);
        assert!(text.len() > limit::BODY_BYTES_MAX - 4);
    }
}
