//! What SQL can name: one table, and DataFusion's functions.
//!
//! Invariant: the functions that are offered are deterministic and total over rows; the only table is the node's
//! input. Nothing is registered at run time.

use arrow_schema::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::logical_plan::builder::LogicalTableSource;
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{
    AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF,
};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The functions of the SQL dialect, by every name they have.
pub(super) struct Functions {
    pub scalar: BTreeMap<String, Arc<ScalarUDF>>,
    pub aggregate: BTreeMap<String, Arc<AggregateUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

/// The aggregates that the engine has operators for.
pub(super) const AGGREGATES: [&str; 5] = ["count", "sum", "min", "max", "avg"];

pub(super) static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| Functions {
    scalar: datafusion_functions::all_default_functions()
        .into_iter()
        .chain(datafusion_functions_nested::all_default_nested_functions())
        .flat_map(|f| {
            names(f.name(), f.aliases())
                .into_iter()
                .map(move |name| (name, f.clone()))
        })
        .collect(),
    aggregate: datafusion_functions_aggregate::all_default_aggregate_functions()
        .into_iter()
        .flat_map(|f| {
            names(f.name(), f.aliases())
                .into_iter()
                .map(move |name| (name, f.clone()))
        })
        .collect(),
    planners: vec![
        Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
        Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
        Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
        Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
        Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
        Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
    ],
});

fn names(name: &str, aliases: &[String]) -> Vec<String> {
    std::iter::once(name)
        .chain(aliases.iter().map(String::as_str))
        .map(str::to_lowercase)
        .collect()
}

impl Functions {
    /// Whether a function gives the same value for the same arguments, always.
    pub(super) fn deterministic(&self, name: &str) -> bool {
        self.scalar
            .get(name)
            .is_none_or(|f| f.signature().volatility == Volatility::Immutable)
    }
}

/// One node's view of the world for DataFusion's planner.
pub(super) struct Catalog {
    pub table: String,
    pub schema: SchemaRef,
    pub options: ConfigOptions,
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if name.table() == self.table {
            return Ok(Arc::new(LogicalTableSource::new(self.schema.clone())));
        }
        plan_err!("no source or node is called {name}")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &FUNCTIONS.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        FUNCTIONS.scalar.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        FUNCTIONS.aggregate.get(name).cloned()
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        FUNCTIONS.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }

    fn udaf_names(&self) -> Vec<String> {
        FUNCTIONS.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        vec![]
    }
}
