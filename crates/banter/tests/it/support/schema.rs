//! As much of JSON Schema as the two documents use. A keyword that is not known here fails the
//! test, so that nothing stands in a document unchecked.

use serde_json::{Map, Value};

/// Keywords that explain and demand nothing.
const WORDS: [&str; 6] = [
    "title",
    "description",
    "example",
    "examples",
    "default",
    "deprecated",
];

/// Whether a field that the schema does not name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strict {
    /// A server says nothing that its document leaves out.
    Yes,
    /// Parts of an `allOf` each name some of the fields.
    No,
}

/// What is wrong with `value`, if anything. References lead into `document`.
pub(crate) fn validate(
    document: &Value,
    schema: &Value,
    value: &Value,
    strict: Strict,
) -> Result<(), String> {
    let Some(schema) = schema.as_object() else {
        return match schema {
            Value::Bool(true) => Ok(()),
            _ => Err(format!("{schema} is no schema for {value}")),
        };
    };
    for (keyword, argument) in schema {
        let holds = match keyword.as_str() {
            "$ref" => {
                let target = follow(document, argument);
                validate(document, target, value, strict)?;
                true
            }
            "type" => is_one_of(argument, value),
            "const" => value == argument,
            "enum" => list(argument).contains(value),
            "minimum" => number(value).is_none_or(|n| n >= number(argument).unwrap()),
            "maximum" => number(value).is_none_or(|n| n <= number(argument).unwrap()),
            "minLength" => length(value).is_none_or(|n| n >= argument.as_u64().unwrap()),
            "maxLength" => length(value).is_none_or(|n| n <= argument.as_u64().unwrap()),
            "format" => value.as_str().is_none_or(|text| formatted(argument, text)),
            "pattern" => value.as_str().is_none_or(|text| matches(argument, text)),
            "required" => value
                .as_object()
                .is_none_or(|object| list(argument).iter().all(|n| has(object, n))),
            "properties" => members(document, argument, value, strict)?,
            "additionalProperties" | "propertyNames" => true,
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    validate(document, argument, item, strict)?;
                }
                true
            }
            "oneOf" | "anyOf" => choose(document, argument, value, strict)?,
            "allOf" => {
                for part in list(argument) {
                    validate(document, part, value, Strict::No)?;
                }
                true
            }
            word if WORDS.contains(&word) => true,
            unknown => panic!("the keyword {unknown} is not checked"),
        };
        if !holds {
            return Err(format!("{value} breaks {keyword}: {argument}"));
        }
    }
    others(document, schema, value, strict)
}

fn follow<'a>(document: &'a Value, reference: &Value) -> &'a Value {
    let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
    let target = pointer.and_then(|pointer| document.pointer(pointer));
    target.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn list(argument: &Value) -> &[Value] {
    argument.as_array().expect("a list")
}

fn has(object: &Map<String, Value>, name: &Value) -> bool {
    object.contains_key(name.as_str().unwrap_or_default())
}

fn is_one_of(kinds: &Value, value: &Value) -> bool {
    match kinds {
        Value::Array(kinds) => kinds.iter().any(|kind| is_one_of(kind, value)),
        kind => match kind.as_str().expect("a type's name") {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "integer" => value.is_i64() || value.is_u64(),
            unknown => panic!("the type {unknown} is not checked"),
        },
    }
}

fn number(value: &Value) -> Option<i128> {
    let negative = || value.as_i64().map(i128::from);
    value.as_u64().map(i128::from).or_else(negative)
}

fn length(value: &Value) -> Option<u64> {
    value.as_str().map(|text| text.chars().count() as u64)
}

fn formatted(format: &Value, text: &str) -> bool {
    let form = match format.as_str().expect("a format's name") {
        "uuid" => "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh",
        "date-time" => "0000-00-00T00:00:00.000Z",
        "int32" | "int64" | "password" => return true,
        unknown => panic!("the format {unknown} is not checked"),
    };
    text.len() == form.len()
        && form
            .bytes()
            .zip(text.bytes())
            .all(|(form, byte)| match form {
                b'h' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                b'0' => byte.is_ascii_digit(),
                sign => sign == byte,
            })
}

/// Patterns that stand in the documents.
fn matches(pattern: &Value, text: &str) -> bool {
    let within = |range: std::ops::RangeInclusive<usize>, allowed: fn(u8) -> bool| {
        range.contains(&text.len()) && text.bytes().all(allowed)
    };
    match pattern.as_str().expect("a pattern") {
        "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$" => {
            formatted(&"uuid".into(), text)
        }
        "^[a-z0-9._-]{3,32}$" => within(
            3..=32,
            |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'),
        ),
        "^[!-~]{1,64}$" => within(1..=64, |b| matches!(b, b'!'..=b'~')),
        "^[a-z_]+$" => within(1..=64, |b| matches!(b, b'a'..=b'z' | b'_')),
        "^Bearer$" => text == "Bearer",
        r"^[^\u0000]*[^\s\u0000][^\u0000]*$" => !text.contains('\0') && !text.trim().is_empty(),
        unknown => panic!("the pattern {unknown} is not checked"),
    }
}

fn members(document: &Value, named: &Value, value: &Value, strict: Strict) -> Result<bool, String> {
    for (name, schema) in named.as_object().expect("properties") {
        if let Some(member) = value.get(name) {
            let found = validate(document, schema, member, strict);
            found.map_err(|why| format!("{name}: {why}"))?;
        }
    }
    Ok(true)
}

fn choose(
    document: &Value,
    choices: &Value,
    value: &Value,
    strict: Strict,
) -> Result<bool, String> {
    let mut reasons = Vec::new();
    for choice in list(choices) {
        match validate(document, choice, value, strict) {
            Ok(()) => return Ok(true),
            Err(why) => reasons.push(why),
        }
    }
    Err(format!("none of: {}", reasons.join("; ")))
}

/// Fields that the schema does not name.
fn others(
    document: &Value,
    schema: &Map<String, Value>,
    value: &Value,
    strict: Strict,
) -> Result<(), String> {
    let named = schema.get("properties").and_then(Value::as_object);
    let rest = schema.get("additionalProperties");
    for (name, member) in value.as_object().into_iter().flatten() {
        if named.is_some_and(|named| named.contains_key(name)) {
            continue;
        }
        match rest {
            Some(rest) => {
                let found = validate(document, rest, member, strict);
                found.map_err(|why| format!("{name}: {why}"))?;
            }
            None if strict == Strict::Yes && named.is_some() => {
                return Err(format!("{name} is not described"));
            }
            None => {}
        }
    }
    Ok(())
}
