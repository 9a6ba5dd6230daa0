//! A document whose list may be longer than memory: written item by item.

use serde::Serialize;

use super::{Document, encode, line};
use crate::cli::output::Output;
use crate::error::Result;

/// A document under way; [`List::end`] closes it.
#[derive(Debug)]
#[must_use]
pub struct List<'a> {
    output: &'a Output,
    is_empty: bool,
}

impl<'a> List<'a> {
    /// Writes the head's fields and opens the list under this name.
    pub fn begin(output: &'a Output, head: &impl Document, name: &str) -> Result<Self> {
        let head = line(head)?;
        let open = head.strip_suffix('}').unwrap_or(&head);
        output.text(&format!("{open},\"{name}\":["))?;
        Ok(Self { output, is_empty: true })
    }

    /// Adds an item.
    pub fn item(&mut self, item: &impl Serialize) -> Result<()> {
        let comma = if self.is_empty { "" } else { "," };
        self.is_empty = false;
        self.output.text(&format!("{comma}{}", encode(item)?))
    }

    /// Closes list and document.
    pub fn end(self) -> Result<()> {
        self.output.line("]}")?;
        self.output.finish()
    }

    /// Closes the list, adds a last field, and closes the document.
    pub fn end_with(self, name: &str, value: &impl Serialize) -> Result<()> {
        self.output.line(&format!("],\"{name}\":{}}}", encode(value)?))?;
        self.output.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::json::LsHead;
    use crate::cli::output::testing::Kept;

    fn written(items: &[u32], total: Option<u32>) -> String {
        let kept = Kept::default();
        let output = kept.output();
        let mut list = List::begin(&output, &LsHead { snapshot: "ab".into() }, "entries").unwrap();
        items.iter().for_each(|item| list.item(item).unwrap());
        match total {
            Some(total) => list.end_with("total", &total).unwrap(),
            None => list.end().unwrap(),
        }
        kept.text()
    }

    #[test]
    fn a_list_written_in_parts_is_one_document() {
        assert_eq!(written(&[], None), "{\"v\":1,\"type\":\"ls\",\"snapshot\":\"ab\",\"entries\":[]}\n");
        assert_eq!(
            written(&[1, 2], Some(3)),
            "{\"v\":1,\"type\":\"ls\",\"snapshot\":\"ab\",\"entries\":[1,2],\"total\":3}\n"
        );
    }
}
