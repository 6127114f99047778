//! What the auditor's tests share: the click-count topology without a file.

use crate::spec::*;

pub const CLICK_COUNT: &str = "SELECT window_start, window_end, page, COUNT(*) AS count
    FROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND)
    GROUP BY window_start, window_end, page";

pub fn spanned<T>(value: T) -> Spanned<T> {
    Spanned {
        value,
        span: Default::default(),
    }
}

pub fn column(name: &str, kind: ColumnType) -> ColumnSpec {
    ColumnSpec {
        name: spanned(name.to_owned()),
        kind,
        path: vec![name.to_owned()],
        required: false,
    }
}

/// Source `clicks` (`timestamp`, `page`, `amount`) with 200 ms of disorder → node `counts` → sink `output`.
pub fn topology(sql: &str, late: LatePolicy) -> TopologySpec {
    TopologySpec {
        file: "click-count.yaml".to_owned(),
        text: String::new(),
        app: spanned("click-count".to_owned()),
        shards: 4,
        sources: vec![SourceSpec {
            name: spanned("clicks".to_owned()),
            topic: spanned("input".to_owned()),
            columns: vec![
                column("timestamp", ColumnType::TimestampMs),
                column("page", ColumnType::String),
                column("amount", ColumnType::Int64),
            ],
            event_time: Some(EventTimeSpec {
                column: spanned("timestamp".to_owned()),
                out_of_orderness_ms: 200,
                idle_after_ms: Some(5000),
                valid_from_ms: 0,
                valid_ahead_ms: Some(86_400_000),
            }),
            start: Start::Earliest,
            coerce: false,
        }],
        nodes: vec![NodeSpec {
            name: spanned("counts".to_owned()),
            sql: spanned(sql.to_owned()),
            late,
            late_span: None,
        }],
        sinks: vec![SinkSpec {
            name: spanned("output".to_owned()),
            from: spanned("counts".to_owned()),
            topic: spanned("output".to_owned()),
            key: vec![spanned("page".to_owned())],
            timestamp: SinkTimestamp::WallClock,
            timestamp_format: TimestampFormat::Iso,
            decimals_as_string: false,
        }],
        rejects_topic: "click-count.rejects".to_owned(),
    }
}
