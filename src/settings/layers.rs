//! The layers above the defaults, put together by the `config` crate: files, environment, overrides.
//!
//! Invariant: every layer is a flat table `section.key` → text with its origin, so that `security.protocol` below
//! `kafka:`, nested below it, in the environment and on the command line are one and the same key. Texts are taken as
//! they are written: YAML's numbers would lose the zeros of a password such as 0012. Values are not interpreted here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, Map, Source, Value, ValueKind};

use super::SettingsError;
use crate::spec::diagnostic::Span;
use crate::spec::yaml::{self, Content, Node};

/// A value that a layer gives, and where it stands.
pub(super) struct Given {
    pub key: String,
    pub value: String,
    pub origin: String,
}

/// Before the names of variables that are settings.
const PREFIX: &str = "MILLSTREAM__";

/// The table's name within `config`, which takes names at the top apart at their dots.
const ROOT: &str = "settings";

/// The layers merged, in the order of their keys.
pub(super) fn merged(
    files: &[PathBuf],
    environment: &BTreeMap<String, String>,
    overrides: &[String],
    errors: &mut Vec<SettingsError>,
) -> Vec<Given> {
    let mut builder = Config::builder();
    for path in files {
        builder = builder.add_source(file(path, errors));
    }
    builder = builder
        .add_source(variables(environment, errors))
        .add_source(flags(overrides, errors));
    let table = builder
        .build()
        .and_then(|config| config.collect())
        .and_then(|mut root| root.remove(ROOT).unwrap_or_default().into_table());
    // Without any layer there is no table.
    let mut given: Vec<Given> = table
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| Given {
            key,
            origin: value.origin().unwrap_or_default().to_owned(),
            value: value.to_string(),
        })
        .collect();
    given.sort_by(|a, b| a.key.cmp(&b.key));
    given
}

/// One layer.
#[derive(Debug, Clone, Default)]
struct Layer(Map<String, Value>);

impl Layer {
    fn insert(
        &mut self,
        key: &str,
        value: String,
        origin: String,
        errors: &mut Vec<SettingsError>,
    ) {
        let key = match key {
            "kafka.bootstrap.servers" => "kafka.bootstrap_servers",
            key => key,
        };
        let value = Value::new(Some(&origin), ValueKind::String(value));
        if let Some(other) = self.0.insert(key.to_owned(), value) {
            let cause = format!("also set by {}", other.origin().unwrap_or("another value"));
            errors.push(SettingsError::Invalid {
                key: key.to_owned(),
                origin,
                cause,
            });
        }
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let table = Value::new(None, ValueKind::Table(self.0.clone()));
        Ok(Map::from_iter([(ROOT.to_owned(), table)]))
    }
}

fn file(path: &Path, errors: &mut Vec<SettingsError>) -> Layer {
    let mut layer = Layer::default();
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) => {
            errors.push(SettingsError::File {
                path: name,
                cause: cause.to_string(),
            });
            return layer;
        }
    };
    let mut found = Vec::new();
    let root = yaml::parse(&text, &mut found);
    for one in found {
        // Without the line itself, which may hold a secret.
        errors.push(SettingsError::File {
            path: place(&name, one.span),
            cause: one.message,
        });
    }
    if let Some(root) = root {
        flatten(&mut layer, &name, "", &root, errors);
    }
    layer
}

fn place(name: &str, span: Span) -> String {
    format!("{name}:{}:{}", span.line, span.column)
}

fn flatten(layer: &mut Layer, file: &str, key: &str, node: &Node, errors: &mut Vec<SettingsError>) {
    let origin = place(file, node.span);
    let mut invalid = |cause: &str| {
        errors.push(SettingsError::Invalid {
            key: key.to_owned(),
            origin: origin.clone(),
            cause: cause.to_owned(),
        });
    };
    match &node.content {
        Content::Refused => {}
        // An empty file, or a section whose keys are all commented out.
        Content::Nothing if !key.contains('.') => {}
        Content::Nothing => invalid("the value is missing"),
        Content::Scalar(_) if key.is_empty() => invalid("settings are a mapping"),
        Content::Scalar(scalar) => layer.insert(key, scalar.text.clone(), origin, errors),
        Content::Mapping(entries) => {
            for entry in entries {
                let inner = match key {
                    "" => entry.key.value.clone(),
                    outer => format!("{outer}.{}", entry.key.value),
                };
                flatten(layer, file, &inner, &entry.value, errors);
            }
        }
        Content::List(items) => {
            let texts: Option<Vec<&str>> = items
                .iter()
                .map(|item| match &item.content {
                    Content::Scalar(scalar) => Some(scalar.text.as_str()),
                    _ => None,
                })
                .collect();
            match texts {
                // Lists of Kafka's properties are texts with commas.
                Some(texts) if !key.is_empty() => {
                    layer.insert(key, texts.join(","), origin, errors);
                }
                _ => invalid("a list of this kind is not a setting"),
            }
        }
    }
}

fn variables(environment: &BTreeMap<String, String>, errors: &mut Vec<SettingsError>) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in environment {
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let path = path.to_lowercase().replace("__", ".");
        let key = match path.strip_prefix("kafka.") {
            // No property of librdkafka that is set by text has an underscore.
            Some(property) => format!("kafka.{}", property.replace('_', ".")),
            None => path,
        };
        let origin = format!("environment variable {name}");
        layer.insert(&key, value.clone(), origin, errors);
    }
    layer
}

fn flags(overrides: &[String], errors: &mut Vec<SettingsError>) -> Layer {
    let mut layer = Layer::default();
    for (index, text) in overrides.iter().enumerate() {
        let number = index + 1;
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let origin = "--set".to_owned();
                layer.insert(key.trim(), value.to_owned(), origin, errors);
            }
            _ => errors.push(SettingsError::Override { number }),
        }
    }
    layer
}
