//! The clauses of SQL that are not supported, each refused by name, place and remedy.
//!
//! Invariant: after this check a query is one SELECT over one table factor, with nothing but a projection, WHERE,
//! GROUP BY of plain expressions, and HAVING. Expressions are judged in `names`.

use super::place::{Place, diagnostic};
use crate::spec::diagnostic::{Diagnostic, Span};
use datafusion_sql::sqlparser::ast::{
    Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

struct Refusals<'p, 'a> {
    place: &'p Place<'a>,
    found: Vec<Diagnostic>,
}

impl Refusals<'_, '_> {
    fn add(&mut self, code: &'static str, span: Span, what: &str, help: &str) {
        self.found.push(diagnostic(
            code,
            span,
            format!("{what} is not supported"),
            help,
        ));
    }

    /// Refuses a clause at its keyword.
    fn clause(&mut self, present: bool, code: &'static str, keyword: &str, what: &str, help: &str) {
        if present {
            let span = self.place.word(keyword);
            self.add(code, span, what, help);
        }
    }
}

const OWN_NODE: &str = "make it a node of its own and read from that";
const UNBOUNDED: &str = "a stream has no last row; filter with WHERE, or aggregate over a window";

/// Finds every unsupported clause of the query.
pub(super) fn refuse(query: &Query, place: &Place<'_>) -> Vec<Diagnostic> {
    let mut refusals = Refusals {
        place,
        found: vec![],
    };
    let r = &mut refusals;
    r.clause(
        query.with.is_some(),
        "unsupported-cte",
        "WITH",
        "WITH",
        OWN_NODE,
    );
    r.clause(
        query.order_by.is_some(),
        "unsupported-order-by",
        "ORDER",
        "ORDER BY",
        "rows leave in the order in which they arrive; leave it out",
    );
    let keyword = if place.find_word("LIMIT").is_some() {
        "LIMIT"
    } else {
        "OFFSET"
    };
    r.clause(
        query.limit_clause.is_some(),
        "unsupported-limit",
        keyword,
        keyword,
        UNBOUNDED,
    );
    r.clause(
        query.fetch.is_some(),
        "unsupported-limit",
        "FETCH",
        "FETCH",
        UNBOUNDED,
    );
    r.clause(
        trailing(query),
        "unsupported-clause",
        "FOR",
        "what follows the SELECT",
        "leave it out",
    );
    match query.body.as_ref() {
        SetExpr::Select(select) => refuse_select(select, r),
        SetExpr::SetOperation { op, .. } => {
            let (keyword, help) = (
                op.to_string(),
                "let two nodes feed two sinks of the same topic",
            );
            r.clause(true, "unsupported-union", &keyword, &keyword, help);
        }
        _ => r.clause(
            true,
            "unsupported-subquery",
            "SELECT",
            "a query in parentheses",
            "leave the parentheses out",
        ),
    }
    refusals.found.sort_by_key(|d| d.span);
    refusals.found
}

/// Clauses of other dialects behind the SELECT.
fn trailing(query: &Query) -> bool {
    !query.locks.is_empty()
        || query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty()
}

fn refuse_select(select: &Select, r: &mut Refusals<'_, '_>) {
    const DISTINCT: &str = "GROUP BY the columns over a window";
    let distinct = select.distinct.is_some();
    r.clause(
        distinct,
        "unsupported-distinct",
        "DISTINCT",
        "DISTINCT",
        DISTINCT,
    );
    r.clause(
        select.top.is_some(),
        "unsupported-limit",
        "TOP",
        "TOP",
        UNBOUNDED,
    );
    let qualify = select.qualify.is_some();
    r.clause(
        qualify,
        "unsupported-qualify",
        "QUALIFY",
        "QUALIFY",
        "use HAVING",
    );
    let window = !select.named_window.is_empty();
    r.clause(
        window,
        "unsupported-over",
        "WINDOW",
        "WINDOW",
        "use TUMBLE in FROM",
    );
    let rare = [
        (select.prewhere.is_some(), "PREWHERE"),
        (select.into.is_some(), "INTO"),
        (!select.lateral_views.is_empty(), "LATERAL"),
        (!select.connect_by.is_empty(), "CONNECT"),
        (!select.cluster_by.is_empty(), "CLUSTER"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE"),
        (!select.sort_by.is_empty(), "SORT"),
        (select.value_table_mode.is_some(), "AS"),
    ];
    for (present, keyword) in rare {
        r.clause(
            present,
            "unsupported-clause",
            keyword,
            keyword,
            "leave it out",
        );
    }
    refuse_from(select, r);
    refuse_group_by(&select.group_by, r);
    for item in &select.projection {
        if let SelectItem::ExprWithAliases { aliases, .. } = item {
            let span = aliases
                .first()
                .map_or(r.place.whole(), |alias| r.place.at(alias.span));
            r.add(
                "unsupported-alias-list",
                span,
                "a list of aliases",
                "give each expression one alias",
            );
        }
    }
}

fn refuse_from(select: &Select, r: &mut Refusals<'_, '_>) {
    let Some(first) = select.from.first() else {
        let span = r.place.whole();
        r.found.push(diagnostic(
            "missing-from",
            span,
            "the SELECT has no FROM",
            "name a source or a node to read",
        ));
        return;
    };
    const NO_JOIN: &str = "joins are not supported yet: a node reads one input";
    if select.from.len() > 1 || !first.joins.is_empty() {
        let comma = select.from.get(1).map(|table| r.place.of(table));
        let span = r
            .place
            .find_word("JOIN")
            .or(comma)
            .unwrap_or(r.place.whole());
        r.found.push(diagnostic(
            "unsupported-join",
            span,
            NO_JOIN,
            "bring the columns into one topic before Millstream",
        ));
        return;
    }
    refuse_factor(first, r);
}

fn refuse_factor(first: &TableWithJoins, r: &mut Refusals<'_, '_>) {
    match &first.relation {
        TableFactor::Table {
            alias,
            sample,
            version,
            with_hints,
            ..
        } => {
            if let Some(column) = alias.as_ref().and_then(|alias| alias.columns.first()) {
                let span = r.place.at(column.name.span);
                r.add(
                    "unsupported-clause",
                    span,
                    "renaming columns in FROM",
                    "use AS in the SELECT list",
                );
            }
            if sample.is_some() || version.is_some() || !with_hints.is_empty() {
                let span = r.place.of(first);
                r.add(
                    "unsupported-clause",
                    span,
                    "what follows the input in FROM",
                    "leave it out",
                );
            }
        }
        TableFactor::Derived { subquery, .. } => {
            let span = r.place.of(subquery.as_ref());
            r.add("unsupported-subquery", span, "a subquery", OWN_NODE);
        }
        TableFactor::TableFunction { expr, .. } => {
            let span = r.place.of(expr);
            let help = "write FROM TUMBLE(input, time, INTERVAL '15' SECOND)";
            r.add("unsupported-table-function", span, "TABLE(…)", help);
        }
        TableFactor::MatchRecognize { .. } => {
            r.clause(
                true,
                "unsupported-match-recognize",
                "MATCH_RECOGNIZE",
                "MATCH_RECOGNIZE",
                "",
            );
        }
        other => {
            let span = r.place.of(other);
            r.add(
                "unsupported-from",
                span,
                "this in FROM",
                "name a source, a node, or TUMBLE(…)",
            );
        }
    }
}

fn refuse_group_by(group_by: &GroupByExpr, r: &mut Refusals<'_, '_>) {
    const HELP: &str = "one node per grouping";
    match group_by {
        GroupByExpr::All(_) => {
            r.clause(
                true,
                "unsupported-group-by-all",
                "GROUP",
                "GROUP BY ALL",
                "name the group columns",
            );
        }
        GroupByExpr::Expressions(exprs, modifiers) => {
            for expr in exprs {
                if several_sets(expr) {
                    let keyword = ["GROUPING", "CUBE", "ROLLUP"]
                        .into_iter()
                        .find_map(|word| r.place.find_word(word));
                    let span = keyword.unwrap_or_else(|| r.place.of(expr));
                    r.add(
                        "unsupported-grouping-sets",
                        span,
                        "grouping by several sets (GROUPING SETS, CUBE, ROLLUP)",
                        HELP,
                    );
                }
            }
            r.clause(
                !modifiers.is_empty(),
                "unsupported-grouping-sets",
                "WITH",
                "GROUP BY … WITH",
                HELP,
            );
        }
    }
}

/// Whether a group expression stands for several groupings.
pub(super) fn several_sets(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)
    )
}
