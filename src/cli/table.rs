//! Aligned columns for people. Widths are those of a terminal, not of bytes.

use unicode_width::UnicodeWidthStr;

use super::paint::{Paint, Tone};

const GAP: &str = "  ";

/// On which side the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// One field; what it holds has gone through [`crate::text::escape`].
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// A word that tells a state.
    pub fn state(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }

    /// The same with more text behind it.
    pub fn with(self, more: &str) -> Self {
        Self { text: self.text + more, ..self }
    }

    fn padded(&self, width: usize, align: Align, paint: Paint) -> String {
        let pad = " ".repeat(width.saturating_sub(self.text.width()));
        let text = match self.tone {
            Some(tone) => paint.word(tone, &self.text),
            None => self.text.clone(),
        };
        match align {
            Align::Left => text + &pad,
            Align::Right => pad + &text,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: None }
    }
}

/// Rows under a line of headings.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let headings = columns.iter().map(|(heading, _)| Cell::from(*heading)).collect();
        Self { columns: columns.iter().map(|(_, align)| *align).collect(), rows: vec![headings] }
    }

    /// Adds a row; what has no column is left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().take(self.columns.len()).collect());
    }

    /// The whole table, a line for each row, without blanks at the ends of lines.
    pub fn to_text(&self, paint: Paint) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.columns);
            let cells: Vec<_> = cells.map(|((cell, width), align)| cell.padded(*width, *align, paint)).collect();
            text.push_str(cells.join(GAP).trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.columns.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_what_a_terminal_shows() {
        let mut table = Table::new(&[("ID", Align::Left), ("SIZE", Align::Right), ("NOTE", Align::Left)]);
        table.row(["k3f9".into(), "1.9 GiB".into(), "".into()]);
        table.row(["日本".into(), "4 B".into(), "before é".into()]);
        table.row(["x".into()]);
        let expected = "\
ID       SIZE  NOTE
k3f9  1.9 GiB
日本      4 B  before é
x
";
        assert_eq!(table.to_text(Paint::PLAIN), expected);
    }

    #[test]
    fn colour_does_not_shift_columns() {
        let mut table = Table::new(&[("STATE", Align::Left), ("N", Align::Right)]);
        table.row([Cell::state(Tone::Good, "ok"), "1".into()]);
        let painted = table.to_text(Paint::COLOURED);
        assert_eq!(painted, "STATE  N\n\x1b[32mok\x1b[0m     1\n");
        assert_eq!(painted.replace("\x1b[32m", "").replace("\x1b[0m", ""), table.to_text(Paint::PLAIN));
    }
}
