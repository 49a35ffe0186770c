//! As much of JSON Schema as the AsyncAPI document uses. A keyword that is not known here fails the
//! test, so that nothing stands in the document unchecked.

use banter_protocol::id::{ChannelId, MessageId};
use banter_protocol::text::{Body, Username};
use banter_protocol::time::Timestamp;
use serde_json::{Map, Value};

/// Keywords that explain and demand nothing.
const WORDS: [&str; 2] = ["title", "description"];

/// What is wrong with `value`, if anything. `document` is where references lead.
pub(crate) fn validate(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = schema.as_object().expect("a schema is an object");
    for (keyword, argument) in schema {
        let holds = match keyword.as_str() {
            "$ref" => {
                validate(document, follow(document, argument), value)?;
                true
            }
            "type" => is_of(argument.as_str().unwrap(), value),
            "const" => value == argument,
            "enum" => argument.as_array().unwrap().contains(value),
            "minimum" => integer(value).is_none_or(|n| n >= integer(argument).unwrap()),
            "maximum" => integer(value).is_none_or(|n| n <= integer(argument).unwrap()),
            "minLength" => length(value).is_none_or(|n| n >= argument.as_u64().unwrap()),
            "maxLength" => length(value).is_none_or(|n| n <= argument.as_u64().unwrap()),
            "format" | "pattern" => value
                .as_str()
                .is_none_or(|t| matches(argument.as_str().unwrap(), t)),
            "required" => has_all(argument, value),
            "properties" => {
                for (name, schema) in argument.as_object().unwrap() {
                    member(document, schema, value, name)?;
                }
                true
            }
            "additionalProperties" => {
                others(document, argument, schema, value)?;
                true
            }
            word if WORDS.contains(&word) => true,
            unknown => panic!("the keyword {unknown} is not checked"),
        };
        if !holds {
            return Err(format!("{value} breaks {keyword}: {argument}"));
        }
    }
    Ok(())
}

/// What a reference of the same document leads to.
pub(crate) fn follow<'a>(document: &'a Value, reference: &Value) -> &'a Value {
    let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
    document
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        unknown => panic!("the type {unknown} is not checked"),
    }
}

fn integer(value: &Value) -> Option<i128> {
    let negative = || value.as_i64().map(i128::from);
    value.as_u64().map(i128::from).or_else(negative)
}

fn length(value: &Value) -> Option<u64> {
    value.as_str().map(|text| text.chars().count() as u64)
}

/// Patterns and formats are checked by the very rules of this crate that they describe.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "uuid" | "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$" => {
            text.parse::<ChannelId>().is_ok()
        }
        "date-time" => text
            .parse::<Timestamp>()
            .is_ok_and(|time| time.to_string() == text),
        "^[a-z0-9._-]{3,32}$" => Username::parse(text).is_ok_and(|name| name.as_str() == text),
        "^[!-~]{1,64}$" => text.parse::<MessageId>().is_ok(),
        r"^[^\u0000]*[^\s\u0000][^\u0000]*$" => Body::parse(text).is_ok(),
        "^[a-z_]+$" => !text.is_empty() && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'_')),
        unknown => panic!("the pattern {unknown} is not checked"),
    }
}

fn has_all(names: &Value, value: &Value) -> bool {
    let names = names.as_array().unwrap();
    value
        .as_object()
        .is_none_or(|o| names.iter().all(|n| o.contains_key(n.as_str().unwrap())))
}

fn member(document: &Value, schema: &Value, value: &Value, name: &str) -> Result<(), String> {
    match value.get(name) {
        Some(member) => validate(document, schema, member).map_err(|why| format!("{name}: {why}")),
        None => Ok(()),
    }
}

fn others(
    document: &Value,
    argument: &Value,
    schema: &Map<String, Value>,
    value: &Value,
) -> Result<(), String> {
    let known = schema.get("properties").and_then(Value::as_object);
    for (name, member) in value.as_object().into_iter().flatten() {
        if !known.is_some_and(|known| known.contains_key(name)) {
            validate(document, argument, member).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    Ok(())
}
