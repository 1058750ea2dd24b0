//! Metrics as a table, of any range of any fields.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::Columns;
use super::query_error::QueryError;

/// Rows in an answer without `max_points`.
const DEFAULT_ROWS: usize = 2_000;

/// The range and the fields of a metrics table.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MetricsQuery {
    /// The first step of the range. Default: the first there is.
    pub from: Option<u64>,
    /// The last step of the range, included. Default: the last there is.
    pub to: Option<u64>,
    /// The most rows; a longer range is thinned to every n-th row and the last. Default 2000.
    pub max_points: Option<usize>,
    /// Columns, separated by commas; a group such as `components` selects all of its columns. Default: all.
    pub fields: Option<String>,
}

/// Metrics as a table. A missing value is `null`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MetricsTable {
    /// The names of the columns, `step` first; fields of a group are written `components.think`.
    pub columns: Vec<String>,
    /// One row per step, in the order of the columns.
    pub rows: Vec<Vec<Option<Figure>>>,
    /// The number of rows in the range before thinning.
    pub total: usize,
    /// The distance between two rows that are sent; 1 without thinning.
    pub stride: usize,
}

/// A number, written as an integer where it is one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Figure {
    /// An integer of at most 9·10¹⁵, which a double holds exactly.
    Whole(i64),
    /// Any other finite number.
    Real(f64),
}

impl Figure {
    /// `None` for NaN, which marks a missing value, and for infinities.
    fn of(value: f64) -> Option<Self> {
        // Whole numbers up to 2^53 are exact.
        let whole = value.fract() == 0.0 && value.abs() <= 9e15;
        value.is_finite().then_some(if whole { Figure::Whole(value as i64) } else { Figure::Real(value) })
    }
}

impl Columns {
    /// The table for a query.
    ///
    /// Errors: A field of the query does not exist.
    pub fn table(&self, query: &MetricsQuery) -> Result<MetricsTable, QueryError> {
        let columns = self.chosen(query.fields.as_deref())?;
        // Steps increase from row to row.
        let first = self.steps.partition_point(|&step| step < query.from.unwrap_or(0));
        let behind = self.steps.partition_point(|&step| step <= query.to.unwrap_or(u64::MAX));
        let total = behind.saturating_sub(first);
        let points = query.max_points.unwrap_or(DEFAULT_ROWS).max(2);
        let stride = total.div_ceil(points).max(1);
        let mut rows: Vec<usize> = (first..behind).step_by(stride).collect();
        if total > 0 && rows.last() != Some(&(behind - 1)) {
            rows.push(behind - 1);
        }
        let row =
            |row: usize| columns.iter().map(|&column| Figure::of(self.all()[column].values[row])).collect();
        Ok(MetricsTable {
            rows: rows.into_iter().map(row).collect(),
            columns: columns.iter().map(|&column| self.all()[column].name.clone()).collect(),
            total,
            stride,
        })
    }

    /// The indices of the selected columns, `step` first.
    fn chosen(&self, fields: Option<&str>) -> Result<Vec<usize>, QueryError> {
        let names = || self.all().iter().map(|column| column.name.as_str());
        let Some(step) = names().position(|name| name == "step") else { return Ok(Vec::new()) };
        let mut chosen = vec![step];
        let Some(fields) = fields else {
            chosen.extend((0..self.all().len()).filter(|&column| column != step));
            return Ok(chosen);
        };
        for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
            let before = chosen.len();
            let inside = names().enumerate().filter(|(_, name)| selects(field, name));
            let inside: Vec<usize> =
                inside.map(|(column, _)| column).filter(|column| !chosen.contains(column)).collect();
            chosen.extend(inside);
            if chosen.len() == before && !names().any(|name| name == field) {
                let known = names().collect::<Vec<_>>().join(", ");
                return Err(QueryError::UnknownField { field: field.to_owned(), known });
            }
        }
        Ok(chosen)
    }
}

/// Whether a field of a query is this column, or the group that it is in.
pub(super) fn selects(field: &str, column: &str) -> bool {
    column.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lines::Lines as _;

    fn columns(lines: &[Value]) -> Columns {
        let mut columns = Columns::default();
        for line in lines {
            columns.take(0, line.to_string().as_bytes());
        }
        columns
    }

    fn table(columns: &Columns, query: MetricsQuery) -> Value {
        serde_json::to_value(columns.table(&query).unwrap()).unwrap()
    }

    #[test]
    fn groups_become_columns_and_missing_values_are_null() {
        let columns = columns(&[
            json!({"step": 1, "reward": 0.5, "components": {"think": null}}),
            json!({"step": 2, "reward": null, "components": {"think": 1.0, "brevity": -0.25}}),
            json!({"step": 3, "reward": 2.0, "components": {"brevity": 0.5}}),
        ]);
        assert_eq!(
            table(&columns, MetricsQuery::default()),
            json!({
                "columns": ["step", "reward", "components.think", "components.brevity"],
                "rows": [[1, 0.5, null, null], [2, null, 1, -0.25], [3, 2, null, 0.5]],
                "total": 3, "stride": 1,
            })
        );
        let query = MetricsQuery {
            fields: Some("components".into()),
            from: Some(2),
            to: Some(2),
            ..Default::default()
        };
        assert_eq!(
            table(&columns, query),
            json!({
                "columns": ["step", "components.think", "components.brevity"],
                "rows": [[2, 1, -0.25]], "total": 1, "stride": 1,
            })
        );
        let query = MetricsQuery { fields: Some("compo".into()), ..Default::default() };
        assert_eq!(
            columns.table(&query).unwrap_err().to_string(),
            "there is no field `compo`; the fields are step, reward, components.think, components.brevity"
        );
    }

    #[test]
    fn long_ranges_are_thinned_and_keep_the_last_step() {
        let columns = columns(&(1..=10_000).map(|step| json!({"step": step})).collect::<Vec<_>>());
        let query = MetricsQuery { max_points: Some(300), from: Some(101), ..Default::default() };
        let table = columns.table(&query).unwrap();
        // 9900 rows / 300 points → every 33rd: 101, 134, …, 9968; then the last.
        assert_eq!((table.total, table.stride, table.rows.len()), (9_900, 33, 301));
        assert_eq!(table.rows[1], [Some(Figure::Whole(134))]);
        assert_eq!(table.rows[300], [Some(Figure::Whole(10_000))]);
        assert_eq!(self::columns(&[]).table(&query).unwrap().rows.len(), 0);
    }
}
