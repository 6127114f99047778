//! Who may import whom: the layers of the engine, and the libraries that one module alone may touch.
//!
//! Invariant: the table below is the whole truth; a module that is not in it is a breach. Tests may import anything.

use super::source::Source;

/// The layers, lowest first: a module imports only from lower ones.
const LAYERS: [&[&str]; 10] = [
    &["allocator", "error", "clock", "fetch", "batch", "time"],
    &["spec", "metrics", "settings"],
    &["expr", "state", "broker", "format"],
    &["plan"],
    &["operator"],
    &["protocol"],
    &["runtime"],
    &["http"],
    &["cli"],
    &["main"],
];
/// The layer of the edges, each around one library: they do not import one another. Neighbours in other layers may.
const EDGES: usize = 2;
/// Imports that the layers would permit, but that would make the importer impure.
const FORBIDDEN: [(&str, &str); 2] = [("operator", "broker"), ("plan", "broker")];
/// Library (a `*` stands for any ending) and the only paths that may name it.
const ONE_PLACE: [(&str, &[&str]); 9] = [
    ("mimalloc", &["src/allocator.rs"]),
    ("libmimalloc_sys", &["src/allocator.rs"]),
    ("rdkafka*", &["src/broker/kafka/", "src/broker/kafka.rs"]),
    (
        "kafka_protocol",
        &["src/broker/native.rs", "src/broker/native/"],
    ),
    ("rocksdb", &["src/state/rocksdb.rs", "src/state/rocksdb/"]),
    ("datafusion*", &["src/plan/sql", "src/expr/", "src/expr.rs"]),
    ("clap", &["src/cli/", "src/cli.rs", "src/main.rs"]),
    ("axum", &["src/http/", "src/http.rs"]),
    (
        "tokio",
        &["src/http/", "src/http.rs", "src/cli/", "src/cli.rs"],
    ),
];

/// The first folder or file below `src/`, without the ending.
fn module_of(path: &str) -> Option<&str> {
    let module = path.strip_prefix("src/")?.split('/').next()?;
    Some(module.strip_suffix(".rs").unwrap_or(module))
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

pub(super) fn layers(source: &Source, add: &mut impl FnMut(usize, String)) {
    let Some(module) = module_of(source.path) else {
        return;
    };
    // The root names all modules, and this checker none.
    if module == "lib" || module == "tidy" {
        return;
    }
    let Some(own) = layer_of(module) else {
        add(
            1,
            format!("module `{module}` has no place in the table of layers (src/tidy/imports.rs)"),
        );
        return;
    };
    for (at, target) in imports(&source.product) {
        // Items of the crate's root (`crate::Result`) and macros are no modules.
        let Some(layer) = layer_of(&target) else {
            continue;
        };
        if target == module {
            continue;
        }
        let upward = layer > own || (layer == own && own == EDGES);
        if upward || FORBIDDEN.contains(&(module, target.as_str())) {
            add(
                source.line_of(at),
                format!("`{module}` must not import `{target}`"),
            );
        }
    }
}

/// Modules named after `crate::` (or `millstream::`, as the binary says), also in `use crate::{a::b, c}`, with their offsets.
fn imports(product: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate::", "millstream::"] {
        for (at, _) in product.match_indices(root) {
            let from = at + root.len();
            if product[from..].starts_with('{') {
                let end = super::source::closing(product, from).unwrap_or(product.len());
                found.extend(members(product, from + 1, end));
            } else {
                found.push((from, name_at(product, from)));
            }
        }
    }
    found
}

/// The first names of the comma-separated paths between two offsets.
fn members(product: &str, from: usize, to: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut depth, mut at_start) = (0i32, true);
    for (i, c) in product[from..to].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                found.push((from + i, name_at(product, from + i)));
                at_start = false;
            }
            _ => {}
        }
    }
    found
}

fn name_at(product: &str, at: usize) -> String {
    product[at..]
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

pub(super) fn one_place(source: &Source, add: &mut impl FnMut(usize, String)) {
    if !source.path.starts_with("src/") {
        return;
    }
    for (library, places) in ONE_PLACE {
        if places.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        let stem = library.trim_end_matches('*');
        for (at, _) in source.product.match_indices(stem) {
            let name = name_at(&source.product, at);
            if (name == library || library.ends_with('*'))
                && is_crate_path(&source.product, at, &name)
            {
                add(
                    source.line_of(at),
                    format!("`{name}` belongs to {} alone", places[0]),
                );
            }
        }
    }
}

/// Whether the name at `at` begins a path from a crate: `name::…` or `use name`, not `our::module::name` nor a module declared here.
fn is_crate_path(product: &str, at: usize, name: &str) -> bool {
    let before = &product[..at];
    let inside = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.')
        || before.ends_with("::");
    // A leading `::` is a crate's path all the same.
    let absolute = before.ends_with("::")
        && !before[..before.len() - 2].ends_with(|c: char| c.is_alphanumeric() || c == '>');
    if inside && !absolute {
        return false;
    }
    let declared = product.contains(&format!("mod {name};"));
    let is_path = product[at + name.len()..].starts_with("::");
    let is_use = before.ends_with("use ") || before.ends_with("extern crate ");
    (is_path || is_use) && (absolute || !declared)
}
