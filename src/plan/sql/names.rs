//! Columns and functions in expressions: unknown ones, and ones that cannot be used where they stand.
//!
//! Invariant: after this check every name in the query resolves, every function is deterministic, and aggregates
//! stand only in SELECT and HAVING, one deep. Types are DataFusion's business, later.

use super::catalog::{AGGREGATES, FUNCTIONS};
use super::place::{Place, diagnostic, nearest, suggest};
use super::relation::WINDOW_COLUMNS;
use crate::spec::diagnostic::Diagnostic;
use datafusion_sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArgumentClause, FunctionArguments, Ident, Query,
    Value, Visit, Visitor,
};
use std::ops::ControlFlow;

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    Select,
    Where,
    GroupBy,
    Having,
}

/// The names that expressions may use.
pub(super) struct Names {
    /// What the input is called here.
    pub table: String,
    pub columns: Vec<String>,
    /// Names given in SELECT; GROUP BY and HAVING may use them.
    pub aliases: Vec<String>,
    pub windowed: bool,
}

/// Checks one expression; findings are added to `found`.
pub(super) fn check(
    expr: &Expr,
    clause: Clause,
    names: &Names,
    place: &Place<'_>,
    found: &mut Vec<Diagnostic>,
) {
    let mut checker = Checker {
        clause,
        names,
        place,
        found,
        subqueries: 0,
        aggregates: 0,
    };
    // Nothing breaks off: the visitor looks at the whole expression.
    let _ = expr.visit(&mut checker);
}

/// The supported aggregate that a function call is, by its own name.
pub(super) fn aggregate(function: &Function) -> Option<String> {
    let name = function.name.to_string().to_lowercase();
    FUNCTIONS.aggregate.get(&name).map(|f| f.name().to_string())
}

struct Checker<'c, 'p, 'a> {
    clause: Clause,
    names: &'c Names,
    place: &'p Place<'a>,
    found: &'c mut Vec<Diagnostic>,
    subqueries: usize,
    aggregates: usize,
}

impl Checker<'_, '_, '_> {
    fn add(
        &mut self,
        code: &'static str,
        at: &Ident,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found
            .push(diagnostic(code, self.place.at(at.span), message, help));
    }

    fn identifier(&mut self, ident: &Ident) {
        let aliases = matches!(self.clause, Clause::GroupBy | Clause::Having)
            && self.names.aliases.contains(&ident.value);
        if aliases || self.names.columns.contains(&ident.value) {
            return;
        }
        let name = &ident.value;
        let lower = name.to_lowercase();
        let help = if !self.names.windowed && WINDOW_COLUMNS.contains(&lower.as_str()) {
            format!(
                "{lower} exists where FROM is TUMBLE({}, time, INTERVAL '15' SECOND)",
                self.names.table
            )
        } else if ident.quote_style == Some('"')
            && nearest(name, self.names.columns.iter().map(String::as_str)).is_none()
        {
            format!("text stands in single quotes: '{name}'")
        } else {
            suggest(
                name,
                self.names.columns.iter().map(String::as_str),
                "the columns are",
            )
        };
        self.add(
            "unknown-column",
            ident,
            format!("`{}` has no column `{name}`", self.names.table),
            help,
        );
    }

    fn compound(&mut self, parts: &[Ident]) {
        match parts {
            [table, column] if table.value == self.names.table => self.identifier(column),
            [table, ..] => {
                let help = format!("the input is called `{}` here", self.names.table);
                let message = format!("`{}` is not an input of this node", table.value);
                self.add("unknown-input", table, message, help);
            }
            [] => {}
        }
    }

    fn function(&mut self, function: &Function) {
        let Some(ident) = function
            .name
            .0
            .last()
            .and_then(|part| part.as_ident())
            .cloned()
        else {
            return;
        };
        let name = ident.value.to_lowercase();
        if function.over.is_some() {
            let help =
                "aggregate over a window: FROM TUMBLE(…) … GROUP BY window_start, window_end";
            self.add("unsupported-over", &ident, "OVER is not supported", help);
        } else if let Some(aggregate) = aggregate(function) {
            self.aggregate(function, &ident, &aggregate);
        } else if FUNCTIONS.scalar.contains_key(&name) {
            if !FUNCTIONS.deterministic(&name) {
                let message = format!(
                    "{name} gives another value each time, so that a repeated row would not be the same row"
                );
                let help = "use a column of the record; the time a window closed is window_end";
                self.add("non-deterministic", &ident, message, help);
            }
            if function.filter.is_some() || distinct(function) {
                self.add(
                    "not-an-aggregate",
                    &ident,
                    format!("{name} is not an aggregate: no FILTER or DISTINCT"),
                    "",
                );
            }
        } else {
            self.unknown_function(&ident, &name);
        }
    }

    fn unknown_function(&mut self, ident: &Ident, name: &str) {
        if matches!(name, "tumble" | "hop" | "session" | "cumulate") {
            let help = "write FROM TUMBLE(input, time, INTERVAL '15' SECOND) … GROUP BY window_start, window_end";
            return self.add(
                "window-in-expression",
                ident,
                "a window stands in FROM, not in an expression",
                help,
            );
        }
        if name == "unnest" {
            return self.add(
                "unsupported-unnest",
                ident,
                "UNNEST is not supported: one record is one row",
                "",
            );
        }
        let known = FUNCTIONS
            .scalar
            .keys()
            .map(String::as_str)
            .chain(AGGREGATES);
        let help =
            nearest(name, known).map_or(String::new(), |near| format!("did you mean `{near}`?"));
        self.add(
            "unknown-function",
            ident,
            format!("there is no function `{name}`"),
            help,
        );
    }

    fn aggregate(&mut self, function: &Function, ident: &Ident, name: &str) {
        if !AGGREGATES.contains(&name) {
            let help = format!("there are {}", AGGREGATES.join(", "));
            return self.add(
                "unsupported-aggregate",
                ident,
                format!("the aggregate {name} is not supported yet"),
                help,
            );
        }
        match self.clause {
            Clause::Where => {
                let help = "filter on aggregates with HAVING";
                self.add(
                    "aggregate-in-where",
                    ident,
                    format!("{name} cannot stand in WHERE"),
                    help,
                );
            }
            Clause::GroupBy => self.add(
                "aggregate-in-group-by",
                ident,
                format!("{name} cannot stand in GROUP BY"),
                "",
            ),
            _ if self.aggregates > 0 => {
                let help = "aggregate in one node, and again in a node that reads it";
                self.add(
                    "nested-aggregate",
                    ident,
                    "an aggregate inside an aggregate",
                    help,
                );
            }
            _ => {}
        }
        if distinct(function) {
            let help = "group by the column in one node, and count its rows in the next";
            self.add(
                "unsupported-distinct-aggregate",
                ident,
                format!("DISTINCT in {name} is not supported yet"),
                help,
            );
        }
        let ordered = clauses(function)
            .iter()
            .any(|c| matches!(c, FunctionArgumentClause::OrderBy(_)));
        if ordered || !function.within_group.is_empty() {
            let message = format!("ORDER BY in {name} is not supported");
            self.add(
                "unsupported-order-by",
                ident,
                message,
                format!("{name} does not depend on order: leave it out"),
            );
        } else if !clauses(function).is_empty() || function.null_treatment.is_some() {
            self.add(
                "unsupported-aggregate",
                ident,
                format!("{name} takes an argument and FILTER only"),
                "NULL is ignored anyway",
            );
        }
    }
}

fn distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

fn clauses(function: &Function) -> &[FunctionArgumentClause] {
    match &function.args {
        FunctionArguments::List(list) => &list.clauses,
        _ => &[],
    }
}

impl Visitor for Checker<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.subqueries == 0 {
            let help = "make it a node of its own; joins come later";
            let span = self.place.of(query);
            self.found.push(diagnostic(
                "unsupported-subquery",
                span,
                "a subquery is not supported",
                help,
            ));
        }
        self.subqueries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.subqueries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.subqueries > 0 {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::Identifier(ident) => self.identifier(ident),
            Expr::CompoundIdentifier(parts) => self.compound(parts),
            Expr::Function(function) => {
                self.function(function);
                self.aggregates += usize::from(aggregate(function).is_some());
            }
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                let span = self.place.at(value.span);
                self.found.push(diagnostic(
                    "unsupported-parameter",
                    span,
                    "there are no parameters in SQL",
                    "write the value",
                ));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let (0, Expr::Function(function)) = (self.subqueries, expr) {
            self.aggregates -= usize::from(aggregate(function).is_some());
        }
        ControlFlow::Continue(())
    }
}

/// The first aggregate call in an expression.
pub(super) fn first_aggregate(expr: &Expr) -> Option<Ident> {
    struct Find;
    impl Visitor for Find {
        type Break = Option<Ident>;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Option<Ident>> {
            match expr {
                Expr::Function(f) if aggregate(f).is_some() && f.over.is_none() => {
                    ControlFlow::Break(f.name.0.last().and_then(|part| part.as_ident()).cloned())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match expr.visit(&mut Find) {
        ControlFlow::Break(ident) => ident,
        ControlFlow::Continue(()) => None,
    }
}
