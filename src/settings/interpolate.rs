//! `${NAME}` and `${file:/path}` within values; `$${` stands for `${` itself.
//!
//! Invariant: a missing variable or file is an error that names it, never an empty text; what was put in is not
//! searched again, and no value appears in an error.

use std::collections::BTreeMap;

use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum InterpolationError {
    #[error("the environment has no variable `{0}`")]
    Variable(String),
    #[error("the file `{path}` cannot be read: {cause}")]
    File { path: String, cause: String },
    #[error("`${{` is never closed by `}}`; a literal `${{` is written `$${{`")]
    Open,
    #[error("`${{}}` names no variable")]
    Empty,
}

/// Replaces every `${…}` of `text`. A line end at a file's end is not part of the value.
pub(super) fn interpolate(
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<String, InterpolationError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        let after = &rest[at + 2..];
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some(end) = after.find('}') else {
            return Err(InterpolationError::Open);
        };
        out.push_str(&resolve(&after[..end], environment)?);
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn resolve(
    name: &str,
    environment: &BTreeMap<String, String>,
) -> Result<String, InterpolationError> {
    if let Some(path) = name.strip_prefix("file:") {
        let text = std::fs::read_to_string(path).map_err(|cause| InterpolationError::File {
            path: path.to_owned(),
            cause: cause.to_string(),
        })?;
        let value = text.strip_suffix('\n').unwrap_or(&text);
        return Ok(value.strip_suffix('\r').unwrap_or(value).to_owned());
    }
    if name.is_empty() {
        return Err(InterpolationError::Empty);
    }
    environment
        .get(name)
        .cloned()
        .ok_or_else(|| InterpolationError::Variable(name.to_owned()))
}
