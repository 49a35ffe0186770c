//! JSON bodies, and the exact answer to each way in which one can be wrong.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use banter_protocol::error::Code;
use banter_protocol::limit;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::value::MapDeserializer;
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};
use serde_json::Value;

use crate::problem::Problem;

/// A JSON object as `T`. Unknown fields are ignored; `null` stands for an absent optional field.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_media_type(request.headers())?;
        let bytes = read(request, limit::HTTP_BODY_TIMEOUT).await?;
        parse(&bytes).map(Self)
    }
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
    let body = Limited::new(request.into_body(), limit::FRAME_BYTES_MAX);
    match tokio::time::timeout(patience, body.collect()).await {
        Err(_) => Err(Code::RequestTimeout.into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Code::TooLarge.into()),
        Ok(Err(_)) => Err(Code::RequestMalformed.into()),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let value: Value = serde_json::from_slice(bytes).map_err(|_| Code::BodyMalformed)?;
    let Value::Object(fields) = value else {
        return Err(Code::NotAnObject.into());
    };
    let named = fields
        .into_iter()
        .map(|(name, value)| (name.clone(), Field { name, value }));
    T::deserialize(MapDeserializer::new(named)).map_err(|refused| match refused {
        Refused::Missing(name) => Problem::from(Code::FieldMissing).field(name),
        Refused::Type(name) => Problem::from(Code::FieldType).field(name),
    })
}

/// One field on its way into a `T`; knows its name, so that a refusal can.
struct Field {
    name: String,
    value: Value,
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

impl IntoDeserializer<'_, Refused> for Field {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> de::Deserializer<'de> for Field {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let Self { name, value } = self;
        de::Deserializer::deserialize_any(value, visitor).map_err(|_| Refused::Type(name))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let field = self.name;
        de::Deserializer::deserialize_enum(self.value, name, variants, visitor)
            .map_err(|_| Refused::Type(field))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
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
        let sample: Sample = parse(br#"{"name":"a","private":null,"x":[1,{"y":2}]}"#).unwrap();
        assert_eq!(sample.name, "a");
    }
}
