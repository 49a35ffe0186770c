//! JSON bodies, and the exact answer to each way in which one can be wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use banter_protocol::error::Code;
use banter_protocol::{frame, limit};

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::value::MapDeserializer;
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};
use serde_json::value::RawValue;

use crate::problem::Problem;

/// A JSON object as `T`. Unknown fields are ignored; `null` stands for an absent optional field.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        required(request).await.map(Self)
    }
}

/// The JSON object of a request, for who looks at its head first.
pub(crate) async fn required<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    check_media_type(request.headers())?;
    let bytes = read(request, limit::HTTP_BODY_TIMEOUT).await?;
    parse(&bytes)
}

/// An optional JSON object: an absent body is `T`'s default.
pub(crate) async fn optional<T: DeserializeOwned + Default>(
    request: Request,
) -> Result<T, Problem> {
    let typed = request.headers().contains_key(header::CONTENT_TYPE);
    if typed {
        check_media_type(request.headers())?;
    }
    let bytes = read(request, limit::HTTP_BODY_TIMEOUT).await?;
    match (bytes.is_empty(), typed) {
        (true, _) => Ok(T::default()),
        (false, true) => parse(&bytes),
        (false, false) => Err(Code::MediaType.into()),
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = media_type
        .and_then(|text| text.split(';').next())
        .unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Code::MediaType.into())
}

async fn read(request: Request, patience: Duration) -> Result<bytes::Bytes, Problem> {
    // A length over the limit is told at once; what has none is counted as it arrives.
    if request.body().size_hint().lower() > limit::FRAME_BYTES_MAX as u64 {
        return Err(Code::TooLarge.into());
    }
    let body = Limited::new(request.into_body(), limit::FRAME_BYTES_MAX);
    match tokio::time::timeout(patience, body.collect()).await {
        Err(_) => Err(Code::RequestTimeout.into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Code::TooLarge.into()),
        Ok(Err(_)) => Err(Code::RequestMalformed.into()),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
    }
}

/// How a problem names what is wrong as a whole: the JSON pointer of a document (RFC 6901).
const WHOLE_BODY: &str = "";

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let malformed = |_| Code::BodyMalformed;
    let text = std::str::from_utf8(bytes).map_err(|_| Code::BodyMalformed)?;
    frame::refuse_lone_surrogates(text).map_err(|_| Code::BodyMalformed)?;
    // Read no further than needed: what is unknown is passed over, whatever it holds.
    let whole: &RawValue = serde_json::from_str(text).map_err(malformed)?;
    if !whole.get().starts_with('{') {
        return Err(Problem::from(Code::NotAnObject).field(WHOLE_BODY));
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(malformed)?;
    let named = fields
        .into_iter()
        .map(|(name, value)| (name.clone(), Field { name, value }));
    T::deserialize(MapDeserializer::new(named)).map_err(|refused| match refused {
        Refused::Missing(name) => Problem::from(Code::FieldMissing).field(name),
        Refused::Type(name) => Problem::from(Code::FieldType).field(name),
    })
}

/// One field on its way into a `T`; knows its name, so that a refusal can.
struct Field<'de> {
    name: String,
    value: &'de RawValue,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} has another type")]
    Type(String),
}

impl de::Error for Refused {
    fn custom<M: std::fmt::Display>(message: M) -> Self {
        Self::Type(message.to_string())
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Missing(name)
    }
}

impl<'de> IntoDeserializer<'de, Refused> for Field<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> de::Deserializer<'de> for Field<'de> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let mut reader = serde_json::Deserializer::from_str(self.value.get());
        de::Deserializer::deserialize_any(&mut reader, visitor)
            .map_err(|_| Refused::Type(self.name))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.value.get() {
            "null" => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let mut reader = serde_json::Deserializer::from_str(self.value.get());
        de::Deserializer::deserialize_enum(&mut reader, name, variants, visitor)
            .map_err(|_| Refused::Type(self.name))
    }

    /// It was read once, so it is JSON; its value is nobody's business.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Sample {
        name: String,
        #[expect(dead_code, reason = "only its type matters")]
        private: Option<bool>,
    }

    fn code(text: &str) -> (Code, String) {
        let problem = parse::<Sample>(text.as_bytes()).unwrap_err();
        let body = format!("{problem:?}");
        (problem.code(), body)
    }

    #[test]
    fn every_wrong_body_has_its_code() {
        for (text, expected) in [
            ("", Code::BodyMalformed),
            ("{", Code::BodyMalformed),
            (r#"{"name":"\ud800"}"#, Code::BodyMalformed),
            ("[]", Code::NotAnObject),
            ("{}", Code::FieldMissing),
            (r#"{"name":1}"#, Code::FieldType),
            (r#"{"name":null}"#, Code::FieldType),
            (r#"{"name":1e400}"#, Code::FieldType),
            (r#"{"name":"a","x":"\ud800"}"#, Code::BodyMalformed),
            ("{\"name\":\"a\",\"x\":\"\u{1}\"}", Code::BodyMalformed),
            (r#"{"name":"a","private":"yes"}"#, Code::FieldType),
        ] {
            let (found, body) = code(text);
            assert_eq!(found, expected, "{text}");
            if expected == Code::FieldType && text.contains("private") {
                assert!(body.contains("private"), "{body}");
            }
        }
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        for unknown in ["[1,{\"y\":2}]", "1e400", &"9".repeat(400), &deep] {
            let text = format!(r#"{{"x":{unknown},"name":"a","private":null}}"#);
            let sample: Sample = parse(text.as_bytes()).unwrap();
            assert_eq!(sample.name, "a");
        }
    }
}
