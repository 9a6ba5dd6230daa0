//! The rows of an answer, for people and for programs.

use std::ops::ControlFlow;

use super::json;
use super::output::Output;
use super::paint::Paint;
use super::table::{Align, Table};
use crate::error::Result;
use crate::sql::{JsonRows, Sink, ValueRef, cell};
use crate::text;

/// Columns are as wide as the widest of so many rows: a table would have to hold all of them.
const ROWS_ALIGNED: usize = 1000;
/// Of longer values people see the beginning.
const CELL_BYTES_MAX: usize = 200;

/// Prints rows in aligned columns, some of them at a time.
#[derive(Debug)]
pub struct People<'a> {
    output: &'a Output,
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Whether a column has held numbers only, so far.
    numbers: Vec<bool>,
    has_begun: bool,
}

impl<'a> People<'a> {
    /// Prints to `output`.
    pub fn new(output: &'a Output) -> Self {
        Self { output, headings: Vec::new(), rows: Vec::new(), numbers: Vec::new(), has_begun: false }
    }

    fn print(&mut self) -> Result<()> {
        let align = |is_number: &bool| if *is_number { Align::Right } else { Align::Left };
        let columns: Vec<_> = self.headings.iter().map(String::as_str).zip(self.numbers.iter().map(align)).collect();
        let mut table = Table::new(&columns);
        for row in self.rows.drain(..) {
            table.row(row.into_iter().map(Into::into));
        }
        let text = table.to_text(Paint::stdout());
        // The headings stand above the first rows only.
        let rest = if self.has_begun { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
        self.has_begun = true;
        self.output.text(rest)
    }
}

impl Sink for People<'_> {
    fn columns(&mut self, names: &[Vec<u8>]) -> Result<()> {
        self.headings = names.iter().map(|name| text::escape(name)).collect();
        self.numbers = vec![true; names.len()];
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<ControlFlow<()>> {
        for (is_number, value) in self.numbers.iter_mut().zip(values) {
            *is_number &= matches!(value, ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Null);
        }
        self.rows.push(values.iter().map(|value| cell(*value, CELL_BYTES_MAX)).collect());
        if self.rows.len() == ROWS_ALIGNED {
            self.print()?;
        }
        Ok(while_somebody_reads(self.output))
    }

    fn end(&mut self) -> Result<()> {
        if self.has_begun && self.rows.is_empty() { Ok(()) } else { self.print() }
    }
}

/// Prints rows as one document.
#[derive(Debug)]
pub struct Document<'a> {
    output: &'a Output,
    head: json::QueryHead<'a>,
    rows: JsonRows,
    list: Option<json::List<'a>>,
}

impl<'a> Document<'a> {
    /// Prints to `output`; the columns of the head are still to come.
    pub fn new(output: &'a Output, head: json::QueryHead<'a>) -> Self {
        Self { output, head, rows: JsonRows::default(), list: None }
    }
}

impl Sink for Document<'_> {
    fn columns(&mut self, names: &[Vec<u8>]) -> Result<()> {
        (self.rows, self.head.columns) = JsonRows::new(names);
        self.list = Some(json::List::new(self.output, &self.head, "rows")?);
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<ControlFlow<()>> {
        if let Some(list) = &mut self.list {
            list.encoded(&self.rows.object(values))?;
        }
        Ok(while_somebody_reads(self.output))
    }

    fn end(&mut self) -> Result<()> {
        self.list.take().map_or(Ok(()), json::List::end)
    }
}

fn while_somebody_reads(output: &Output) -> ControlFlow<()> {
    if output.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[cfg(test)]
mod tests {
    use super::super::output::testing::Kept;
    use super::*;

    #[test]
    fn people_read_columns_whose_headings_stand_once() {
        let kept = Kept::default();
        let output = kept.output();
        let mut people = People::new(&output);
        people.columns(&[b"n".to_vec(), b"a\x1b".to_vec()]).unwrap();
        for n in 0..=ROWS_ALIGNED as i64 {
            assert!(people.row(&[ValueRef::Integer(n), ValueRef::Text(b"x\ny")]).unwrap().is_continue());
        }
        people.end().unwrap();
        let text = kept.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[1]), (ROWS_ALIGNED + 2, "  n  a\\x1b", "  0  x\\x0ay"));
        assert_eq!(lines[ROWS_ALIGNED + 1], "1000  x\\x0ay");
    }

    #[test]
    fn programs_read_one_document() {
        let kept = Kept::default();
        let output = kept.output();
        let head = json::QueryHead { snapshot: "ab".into(), source: "app".into(), path: "a".into(), columns: vec![] };
        let mut document = Document::new(&output, head);
        document.columns(&[b"a".to_vec(), b"a".to_vec()]).unwrap();
        assert_eq!(kept.text(), "", "what fails before the first row prints its error alone");
        for n in 0..2 {
            assert!(document.row(&[ValueRef::Integer(n), ValueRef::Null]).unwrap().is_continue());
        }
        document.end().unwrap();
        let head = r#"{"v":1,"type":"query","snapshot":"ab","source":"app","path":"a","columns":["a","a_2"],"rows":["#;
        assert_eq!(kept.text(), format!("{head}{}\n", r#"{"a":0,"a_2":null},{"a":1,"a_2":null}]}"#));
    }
}
