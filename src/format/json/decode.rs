//! JSON records to rows: one strict document per record, straight from the bytes into typed columns.
//!
//! Invariant: a record becomes exactly one row or exactly one [`Bad`], whatever its bytes are, and leaves no trace in
//! the rows of its neighbours. On the usual path nothing is allocated per record. Event times are not judged here.

#[cfg(test)]
mod differential;
#[cfg(test)]
mod structure;
#[cfg(test)]
mod tests;

use super::column::{Column, Session, data_type, describe};
use super::layout::{Layout, Target};
use super::reader::{Fault, MAX_DEPTH, Reader, Step};
use super::skip::skip;
use crate::batch::Cause;
use crate::fetch::Fetch;
use crate::format::{Bad, Decoded};
use crate::spec::ColumnSpec;
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};
use std::ops::Range;
use std::sync::Arc;

/// The columns that [`JsonDecoder`] yields; all of them may hold NULL.
///
/// `timestamp` columns of every kind are milliseconds without a zone (UTC); decimals are 128 bits wide.
pub fn schema_of(columns: &[ColumnSpec]) -> SchemaRef {
    let field = |column: &ColumnSpec| Field::new(&column.name.value, data_type(&column.kind), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// Decodes the records of one topic. Keeps what it learned of the topic's layout between calls, and nothing else.
pub struct JsonDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// One per object with columns in it, the document itself first.
    layouts: Vec<Layout>,
    /// The first column below each layout, and the path to it, for messages.
    places: Vec<(u32, String)>,
    several: Vec<Vec<Target>>,
    session: Session,
}

impl JsonDecoder {
    /// `coerce` takes numbers into text columns (as they are written), numeric text into number columns and the
    /// texts `true` and `false` into boolean columns. An integer column takes only what is written as an integer,
    /// with and without `coerce`: `3.0` and `3e0` are refused like `3.7`.
    pub fn new(columns: &[ColumnSpec], coerce: bool) -> JsonDecoder {
        let mut decoder = JsonDecoder {
            schema: schema_of(columns),
            columns: columns.iter().map(Column::new).collect(),
            layouts: vec![Layout::new()],
            places: vec![(0, String::new())],
            several: vec![],
            session: Session {
                coerce,
                ..Session::default()
            },
        };
        for (number, column) in columns.iter().enumerate() {
            decoder.declare(column, number as u32);
        }
        decoder
    }

    fn declare(&mut self, column: &ColumnSpec, number: u32) {
        let own_name = std::slice::from_ref(&column.name.value);
        let path = if column.path.is_empty() {
            own_name
        } else {
            &column.path[..]
        };
        let mut layout = 0;
        for (depth, name) in path.iter().enumerate() {
            if depth + 1 == path.len() {
                self.add_target(layout, name, Target::Column(number));
                return;
            }
            layout = match self.object_below(layout, name) {
                Some(below) => below,
                None => {
                    let below = self.layouts.len() as u32;
                    self.layouts.push(Layout::new());
                    self.places.push((number, path[..=depth].join(".")));
                    self.add_target(layout, name, Target::Object(below));
                    below
                }
            };
        }
    }

    fn object_below(&self, layout: u32, name: &str) -> Option<u32> {
        let object = |target: &Target| {
            if let Target::Object(below) = target {
                Some(*below)
            } else {
                None
            }
        };
        match self.layouts[layout as usize].declared(name)? {
            Target::Several(list) => self.several[list as usize].iter().find_map(object),
            target => object(&target),
        }
    }

    /// Two columns may share one path, or one may lie below the other.
    fn add_target(&mut self, layout: u32, name: &str, target: Target) {
        let layout = &mut self.layouts[layout as usize];
        match layout.declared(name) {
            None => layout.declare(name, target),
            Some(Target::Several(list)) => self.several[list as usize].push(target),
            Some(other) => {
                layout.redirect(name, Target::Several(self.several.len() as u32));
                self.several.push(vec![other, target]);
            }
        }
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Decodes some records of a fetch.
    ///
    /// # Panics
    /// If the records do not lie in the fetch, or the fetch holds 2 GiB or more: Arrow's text columns end there.
    pub fn decode(&mut self, fetch: &Fetch, records: Range<usize>) -> Decoded {
        assert!(
            fetch.bytes() < i32::MAX as usize,
            "a fetch must stay below 2 GiB"
        );
        let mut good = Vec::with_capacity(records.len());
        let mut bad = vec![];
        self.columns
            .iter_mut()
            .for_each(|column| column.reserve(records.len()));
        for record in records {
            let outcome = match fetch.value(record) {
                Some(value) => self.record(value, good.len() as u32),
                None => Err((Cause::NullValue, "the record's value is null".to_owned())),
            };
            match outcome {
                Ok(()) => good.push(record as u32),
                Err((cause, message)) => {
                    let rows = good.len() as u32;
                    self.columns
                        .iter_mut()
                        .for_each(|column| column.truncate(rows));
                    bad.push(Bad {
                        record: record as u32,
                        cause,
                        message,
                    });
                }
            }
        }
        let arrays = self.columns.iter_mut().map(Column::take).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(good.len()));
        let columns = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .expect("every column holds one value of its schema's type per row");
        Decoded {
            columns,
            records: good,
            bad,
        }
    }

    /// Reads one record into row number `row`. On an error the columns may hold parts of the row.
    #[inline]
    fn record(&mut self, value: &[u8], row: u32) -> Result<(), (Cause, String)> {
        let mut input = Reader::new(value);
        if let Err(fault) = self.document(&mut input) {
            self.session.refused = None;
            self.session.keys.clear();
            return Err((Cause::Malformed, format!("{fault}, at byte {}", input.pos)));
        }
        if let Some(message) = self.session.refused.take() {
            return Err((Cause::WrongType, message));
        }
        self.complete(row)
    }

    /// A document that is no JSON is malformed before its values can be of a wrong type.
    #[inline]
    fn document(&mut self, input: &mut Reader<'_>) -> Result<(), Fault> {
        input.white();
        if input.at_end() {
            return Err(Fault::Empty);
        }
        if input.peek() != b'{' {
            return Err(Fault::NotObject);
        }
        input.step(|bytes, pos| self.object(bytes, pos, 0, 1))?;
        input.white();
        if input.at_end() {
            Ok(())
        } else {
            Err(Fault::Trailing)
        }
    }

    /// Reads the object at `pos` that columns are in; it is the `depth`-th around its values.
    fn object(&mut self, bytes: &[u8], pos: usize, layout: u32, depth: u32) -> Step {
        let mut input = Reader { bytes, pos };
        let result = self.usual_members(&mut input, layout, depth);
        (input.pos, result)
    }

    #[inline(always)]
    fn usual_members(
        &mut self,
        input: &mut Reader<'_>,
        layout: u32,
        depth: u32,
    ) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Depth);
        }
        let mut met = 0;
        while let Some(target) = self.layouts[layout as usize].usual(input, met) {
            self.value(input, target, depth)?;
            met += 1;
        }
        if met > 0 && input.peek() == b'}' {
            input.pos += 1;
            return Ok(());
        }
        input.step(|bytes, pos| {
            let mut input = Reader { bytes, pos };
            let result = self.members(&mut input, layout, depth, met);
            (input.pos, result)
        })
    }

    /// Reads an object whose first `met` members were read, in any order and with any white space.
    #[inline(never)]
    fn members(
        &mut self,
        input: &mut Reader<'_>,
        layout: u32,
        depth: u32,
        met: usize,
    ) -> Result<(), Fault> {
        let (mut key, mut learning) = self.layouts[layout as usize].leave_usual(met);
        let unlearned = self.session.keys.open();
        let mut start = input.pos;
        if met == 0 {
            input.pos += 1;
            input.white();
            if input.peek() == b'}' {
                input.pos += 1;
                return Ok(());
            }
        } else if !input.more(b'}', Fault::ObjectEnd)? {
            return Ok(());
        }
        let learns = learning;
        loop {
            let previous = key;
            let target;
            (key, target) = self.layouts[layout as usize].key(input, key, &mut self.session)?;
            input.punctuation(b':', Fault::Colon)?;
            // A key without a number of its own ends what can be learned.
            learning &= key != previous;
            if learning {
                self.layouts[layout as usize].note(start, input.pos, key, target);
            }
            self.value(input, target, depth)?;
            start = input.pos;
            if !input.more(b'}', Fault::ObjectEnd)? {
                break;
            }
        }
        self.session.keys.close(unlearned)?;
        if learns {
            self.layouts[layout as usize].learn(input.bytes, met);
        }
        Ok(())
    }

    #[inline(always)]
    fn value(&mut self, input: &mut Reader<'_>, target: Target, depth: u32) -> Result<(), Fault> {
        match target {
            Target::Column(column) => {
                self.columns[column as usize].read(input, depth, &mut self.session)
            }
            Target::Skip => input.aside(|input| {
                skip(
                    input,
                    depth,
                    &mut self.session.keys,
                    &mut self.session.scratch,
                )
            }),
            other => input.aside(|input| self.nested(input, other, depth)),
        }
    }

    #[inline(never)]
    fn nested(&mut self, input: &mut Reader<'_>, target: Target, depth: u32) -> Result<(), Fault> {
        match target {
            Target::Object(layout) => match input.peek() {
                b'{' => input.step(|bytes, pos| self.object(bytes, pos, layout, depth + 1)),
                b'n' => input.literal(b"null"),
                _ => self.refuse_object(input, layout, depth),
            },
            Target::Several(list) => {
                let start = input.pos;
                for index in 0..self.several[list as usize].len() {
                    input.pos = start;
                    let target = self.several[list as usize][index];
                    self.value(input, target, depth)?;
                }
                Ok(())
            }
            other => self.value(input, other, depth),
        }
    }

    fn refuse_object(
        &mut self,
        input: &mut Reader<'_>,
        layout: u32,
        depth: u32,
    ) -> Result<(), Fault> {
        let start = input.pos;
        skip(
            input,
            depth,
            &mut self.session.keys,
            &mut self.session.scratch,
        )?;
        if self.session.refused.is_none() {
            let (column, path) = &self.places[layout as usize];
            let name = &self.columns[*column as usize].name;
            let found = describe(&input.bytes[start..input.pos]);
            self.session.refused = Some(format!(
                "column `{name}`: expected an object at `{path}`, found {found}"
            ));
        }
        Ok(())
    }

    /// Gives every column that the record did not fill its NULL.
    #[inline]
    fn complete(&mut self, row: u32) -> Result<(), (Cause, String)> {
        for column in self.columns.iter_mut().filter(|column| column.rows == row) {
            if column.required {
                let message = format!(
                    "column `{}`: it is required, and missing or null",
                    column.name
                );
                return Err((Cause::MissingColumn, message));
            }
            column.push_null();
        }
        Ok(())
    }
}
