//! The tree obeys the rules, and each rule is seen to fail on a planted breach: a checker that finds nothing proves nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

const HEADER: &str = "//! What this file is for, and its invariant.\n";

/// What is wrong with a product file of this body.
fn breaches(path: &str, body: &str) -> Vec<String> {
    check(path, &format!("{HEADER}{body}"))
        .into_iter()
        .map(|b| b.to_string())
        .collect()
}

fn assert_clean(path: &str, body: &str) {
    assert_eq!(
        breaches(path, body),
        Vec::<String>::new(),
        "in {path}:\n{body}"
    );
}

/// Exactly one breach, at this line and naming this.
fn assert_breach(path: &str, body: &str, line: usize, what: &str) {
    let found = breaches(path, body);
    assert_eq!(found.len(), 1, "{found:?} in {path}:\n{body}");
    assert!(
        found[0].starts_with(&format!("{path}:{line}: ")),
        "{found:?}"
    );
    assert!(found[0].contains(what), "{found:?} does not name {what}");
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn the_tree_obeys_the_house_rules() {
    // Cargo runs unit tests in the package's folder; a path from compile time is another clone's when they share a target directory.
    let root = Path::new(".");
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    rust_files(&root.join("integration-tests"), &mut files);
    assert!(
        files.len() > 30,
        "only {} files were found: is this the workspace?",
        files.len()
    );
    let mut found = Vec::new();
    for file in files {
        let path = file
            .strip_prefix(root)
            .expect("below the root")
            .to_string_lossy()
            .replace('\\', "/");
        found.extend(check(
            &path,
            &fs::read_to_string(&file).expect("a text file"),
        ));
    }
    let list: Vec<String> = found.iter().map(Breach::to_string).collect();
    assert!(
        list.is_empty(),
        "{} breaches of the house rules:\n{}",
        list.len(),
        list.join("\n")
    );
}

#[test]
fn a_file_without_header_is_found() {
    let found = check(
        "src/error.rs",
        "use std::fmt;\n\n//! Too late to be a header of this file.\n",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].what.contains("header"));
}

#[test]
fn a_header_that_says_nothing_is_found() {
    assert_eq!(check("src/error.rs", "//! stub\n").len(), 1);
}

#[test]
fn a_file_of_501_lines_is_found_and_one_of_500_is_not() {
    assert_clean("src/error.rs", &"\n".repeat(499));
    assert_breach("src/error.rs", &"\n".repeat(500), 501, "501 lines");
}

#[test]
fn a_function_of_71_lines_is_found_and_one_of_70_is_not() {
    let function = |lines: usize| {
        format!(
            "fn long(a: [u8; 2]) {{\n{}}}\n",
            "    step();\n".repeat(lines - 2)
        )
    };
    assert_clean("src/error.rs", &function(70));
    assert_breach("src/error.rs", &function(71), 2, "fn long has 71 lines");
}

#[test]
fn braces_in_strings_do_not_lengthen_a_function() {
    let rest = "    step();\n".repeat(80);
    assert_clean(
        "src/error.rs",
        &format!(
            "fn a() {{\n    print(\"{{\", '{{', r#\"\"{{\"#);\n}}\nconst X: () = {{\n{rest}}};\n"
        ),
    );
}

#[test]
fn a_long_test_is_no_breach() {
    let body = "        step();\n".repeat(90);
    assert_clean(
        "src/error.rs",
        &format!("#[cfg(test)]\nmod tests {{\n    fn long() {{\n{body}    }}\n}}\n"),
    );
}

#[test]
fn code_after_a_test_module_is_still_checked() {
    assert_breach(
        "src/error.rs",
        "#[cfg(test)]\nmod tests {\n    use crate::broker::A;\n}\nuse crate::broker::B;\n",
        6,
        "must not import `broker`",
    );
}

#[test]
fn imports_against_the_layers_are_found() {
    for (path, import, target) in [
        ("src/error.rs", "use crate::spec::Span;", "spec"),
        (
            "src/spec/read.rs",
            "use crate::{error::E, plan::Plan};",
            "plan",
        ),
        (
            "src/state/mod.rs",
            "fn a() { crate::runtime::go() }",
            "runtime",
        ),
        ("src/state/mod.rs", "use crate::broker::Position;", "broker"),
        (
            "src/format/json.rs",
            "use crate::{\n    expr::{A, B},\n};",
            "expr",
        ),
        (
            "src/plan/graph.rs",
            "use crate::operator::Operator;",
            "operator",
        ),
        ("src/plan/graph.rs", "use crate::broker::Admin;", "broker"),
        (
            "src/operator/map.rs",
            "use crate::broker::Consumer;",
            "broker",
        ),
        (
            "src/operator/map.rs",
            "use crate::runtime::Task;",
            "runtime",
        ),
        (
            "src/protocol/commit.rs",
            "use crate::runtime::Task;",
            "runtime",
        ),
        ("src/runtime/worker.rs", "use crate::http::Server;", "http"),
        ("src/http/mod.rs", "use crate::cli::Args;", "cli"),
    ] {
        let line = if import.contains('\n') { 3 } else { 2 };
        assert_breach(path, import, line, &format!("must not import `{target}`"));
    }
}

#[test]
fn imports_along_the_layers_are_no_breach() {
    assert_clean(
        "src/operator/map.rs",
        "use crate::{batch::Batch, expr::Expr, state::State};\npub(crate) fn a() {}\n",
    );
    assert_clean("src/settings.rs", "use crate::spec::duration;\n");
    assert_clean(
        "src/state/mod.rs",
        "use crate::state::block::Block;\nuse crate::error::E;\n",
    );
    assert_clean("src/main.rs", "fn main() { millstream::cli::main() }\n");
    assert_clean(
        "src/error.rs",
        "//! Not code: `crate::broker::A`.\nconst A: &str = \"crate::broker::A\";\n",
    );
}

#[test]
fn a_module_outside_the_table_is_found() {
    assert_breach("src/helpers.rs", "", 1, "`helpers`");
}

#[test]
fn libraries_outside_their_one_place_are_found() {
    for (path, code, name) in [
        ("src/runtime/worker.rs", "use rdkafka::Message;", "rdkafka"),
        (
            "src/broker/memory.rs",
            "fn a(b: rdkafka_sys::rd_kafka_t) {}",
            "rdkafka_sys",
        ),
        ("src/state/mod.rs", "use rocksdb::DB;", "rocksdb"),
        ("src/state/memory.rs", "use ::rocksdb::DB;", "rocksdb"),
        (
            "src/plan/graph.rs",
            "use datafusion_expr::Expr;",
            "datafusion_expr",
        ),
        (
            "src/operator/map.rs",
            "use datafusion_common as df;",
            "datafusion_common",
        ),
        (
            "src/settings.rs",
            "#[derive(clap::Args)]\nstruct A;",
            "clap",
        ),
        ("src/runtime/mod.rs", "use axum::Router;", "axum"),
        ("src/runtime/mod.rs", "use tokio::sync::mpsc;", "tokio"),
    ] {
        assert_breach(path, code, 2, &format!("`{name}` belongs to"));
    }
}

#[test]
fn libraries_in_their_place_and_namesakes_are_no_breach() {
    assert_clean("src/broker/kafka/admin.rs", "use rdkafka::admin;\n");
    assert_clean("src/state/rocksdb.rs", "use rocksdb::DB;\n");
    assert_clean(
        "src/state/mod.rs",
        "pub mod rocksdb;\nfn a() { rocksdb::open(); self::rocksdb::b(); }\n",
    );
    assert_clean(
        "src/runtime/mod.rs",
        "use crate::state::rocksdb::Store;\nfn f(m: M) { m.tokio(); }\n",
    );
    assert_clean("src/plan/sql/window.rs", "use datafusion_sql::parser;\n");
    assert_clean("src/cli/run.rs", "use clap::Args;\nuse tokio::runtime;\n");
}

#[test]
fn a_bare_matches_statement_is_found_also_in_tests() {
    assert_breach(
        "src/error.rs",
        "fn a() {\n    b();\n    matches!(\n        c(),\n        Some(_)\n    );\n}\n",
        4,
        "matches!",
    );
    assert_breach(
        "integration-tests/tests/a.rs",
        "fn a() {\n    matches!(c(), Some(_));\n}\n",
        3,
        "matches!",
    );
}

#[test]
fn a_used_matches_is_no_breach() {
    assert_clean(
        "src/error.rs",
        "fn a() -> bool {\n    assert!(matches!(b(), C));\n    let d = matches!(b(), C);\n    matches!(b(), C)\n}\n",
    );
}

#[test]
fn silenced_lints_and_stubs_are_found() {
    for code in [
        "#[allow(dead_code)]\nfn a() {}",
        "#![allow(unused)]",
        "fn a() { unimplemented!() }",
        "fn a() { todo!() }",
    ] {
        assert_breach("src/error.rs", code, 2, "`");
        assert_breach("integration-tests/src/wait.rs", code, 2, "`");
    }
}

#[test]
fn markers_of_unfinished_work_are_found_in_comments_only() {
    assert_breach("src/error.rs", "// TODO: later\n", 2, "TODO");
    assert_breach("src/error.rs", "fn a() {} /* FIXME */\n", 2, "FIXME");
    assert_clean("src/error.rs", "const A: &str = \"TODO\";\n");
}
