//! Output records to rows: the sink's JSON documents read back, apart from the engine's encoder.
//!
//! Invariant: a record that does not have exactly the sink's columns is unreadable, with a reason; nothing is guessed.

use super::compare::{GroupKey, OutputContent, OutputRow};
use super::rejects::Place;
use super::shape::{ItemFrom, Shape};
use super::value::{Value, read_output};
use serde_json::Value as Json;

/// Reads one record of the output topic.
pub fn read(
    shape: &Shape,
    (partition, offset): Place,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> OutputRow {
    OutputRow {
        partition,
        offset,
        content: read_content(shape, key, value),
    }
}

fn read_content(
    shape: &Shape,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<OutputContent, String> {
    let bytes = value.ok_or("the value is null")?;
    let document: Json = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let fields = document
        .as_object()
        .ok_or("the document is not an object")?;
    if let Some(other) = fields
        .keys()
        .find(|name| !shape.items.iter().any(|item| item.name == **name))
    {
        return Err(format!("a field `{other}` that the sink does not have"));
    }
    let mut values = vec![];
    for item in &shape.items {
        let field = fields
            .get(&item.name)
            .ok_or_else(|| format!("no field `{}`", item.name))?;
        let value = read_output(item.kind, shape.format, field);
        values.push(value.map_err(|why| format!("field `{}`: {why}", item.name))?);
    }
    let group = identity(shape, &values)?;
    let wrong_key = wrong_key(shape, key, &values);
    Ok(OutputContent {
        group,
        values,
        wrong_key,
    })
}

/// Window and group of a row.
fn identity(shape: &Shape, values: &[Value]) -> Result<GroupKey, String> {
    let find = |from: ItemFrom| shape.items.iter().position(|item| item.from == from);
    let time = |from: ItemFrom, after: i64| -> Option<i64> {
        let Value::Time(us) = values[find(from)?] else {
            return None;
        };
        i64::try_from(us / 1000).ok()?.checked_add(after)
    };
    let end = time(ItemFrom::WindowEnd, 0)
        .or_else(|| time(ItemFrom::WindowStart, shape.size_ms))
        .or_else(|| time(ItemFrom::WindowTime, 1))
        .ok_or("the window is null")?;
    let key = (0..shape.keys.len())
        .filter_map(|key| find(ItemFrom::Key(key)).map(|at| values[at].clone()))
        .collect();
    Ok(GroupKey { end, key })
}

/// What is wrong with the record's key, if it is: one text column is its bytes, otherwise a JSON array.
fn wrong_key(shape: &Shape, key: Option<&[u8]>, values: &[Value]) -> Option<String> {
    let shown = key.map_or_else(
        || "null".to_owned(),
        |key| String::from_utf8_lossy(key).into_owned(),
    );
    let wrong = |must: &str| Some(format!("the record's key is {shown}, must be {must}"));
    match shape.record_key.as_slice() {
        [] if key.is_none() => None,
        [] => wrong("null"),
        [one] => match &values[*one] {
            Value::Text(text) if key == Some(text.as_bytes()) => None,
            Value::Text(text) => wrong(text),
            _ => wrong_array(shape, key, values).then(|| format!("the record's key is {shown}")),
        },
        _ => wrong_array(shape, key, values).then(|| format!("the record's key is {shown}")),
    }
}

fn wrong_array(shape: &Shape, key: Option<&[u8]>, values: &[Value]) -> bool {
    // One text column that is NULL may have a null key.
    if key.is_none() {
        return !shape
            .record_key
            .iter()
            .all(|item| values[*item] == Value::Null);
    }
    let array: Option<Vec<Json>> = key.and_then(|key| serde_json::from_slice(key).ok());
    let Some(array) = array.filter(|array| array.len() == shape.record_key.len()) else {
        return true;
    };
    let same = |(item, json): (&usize, &Json)| {
        read_output(shape.items[*item].kind, shape.format, json)
            .is_ok_and(|value| values[*item].matches(&value))
    };
    !shape.record_key.iter().zip(&array).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::audit::testing::{CLICK_COUNT, topology};
    use crate::spec::LatePolicy;

    const ROW: &str = r#"{"window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:00:15Z","page":"/a","count":3}"#;

    fn read_row(key: Option<&str>, value: &str) -> Result<OutputContent, String> {
        let shape = Shape::of(&topology(CLICK_COUNT, LatePolicy::Drop), None, None).unwrap();
        read(
            &shape,
            (0, 0),
            key.map(str::as_bytes),
            Some(value.as_bytes()),
        )
        .content
    }

    #[test]
    fn a_row_names_its_window_and_group() {
        let content = read_row(Some("/a"), ROW).unwrap();
        assert_eq!(
            content.group,
            GroupKey {
                end: 15_000,
                key: vec![Value::Text("/a".to_owned())]
            }
        );
        assert_eq!(content.values[3], Value::integer(3));
        assert_eq!(content.wrong_key, None);
    }

    #[test]
    fn keys_are_compared_with_the_row() {
        for key in [None, Some("/b"), Some("\"/a\""), Some("[\"/a\"]")] {
            assert!(read_row(key, ROW).unwrap().wrong_key.is_some(), "{key:?}");
        }
    }

    #[test]
    fn a_document_with_other_fields_or_types_is_unreadable() {
        for broken in [
            ROW.replace("\"count\":3", "\"count\":\"3\""),
            ROW.replace("\"count\":3", "\"n\":3"),
            ROW.replace("\"count\":3", "\"count\":3,\"n\":3"),
            ROW.replace("\"1970-01-01T00:00:15Z\"", "15000"),
            ROW.replace('}', ""),
        ] {
            assert!(read_row(Some("/a"), &broken).is_err(), "{broken}");
        }
    }
}
