//! A document whose list may be longer than memory: written item by item.
//!
//! Nothing is written before the first item, or the end: what fails before that prints its error and nothing else. A list
//! that fails later is cut, and the error stands on a line of its own behind it.

use serde::Serialize;

use super::{Document, encode, line};
use crate::cli::output::Output;
use crate::error::Result;

/// A document under way; [`List::end`] closes it.
#[derive(Debug)]
#[must_use]
pub struct List<'a> {
    output: &'a Output,
    /// What stands before the next item: the head, then a comma.
    before: String,
    has_begun: bool,
    has_ended: bool,
}

impl<'a> List<'a> {
    /// A document with the head's fields, and the list under this name.
    pub fn new(output: &'a Output, head: &impl Document, name: &str) -> Result<Self> {
        let head = line(head)?;
        let open = head.strip_suffix('}').unwrap_or(&head);
        Ok(Self { output, before: format!("{open},\"{name}\":["), has_begun: false, has_ended: false })
    }

    /// Adds an item.
    pub fn item(&mut self, item: &impl Serialize) -> Result<()> {
        self.encoded(&encode(item)?)
    }

    /// Adds an item that is JSON already.
    pub fn encoded(&mut self, item: &str) -> Result<()> {
        let text = format!("{}{item}", self.before);
        self.has_begun = true;
        ",".clone_into(&mut self.before);
        self.output.text(&text)
    }

    /// Closes list and document.
    pub fn end(self) -> Result<()> {
        self.close("]}")
    }

    /// Closes the list, adds a last field, and closes the document.
    pub fn end_with(self, name: &str, value: &impl Serialize) -> Result<()> {
        let text = format!("],\"{name}\":{}}}", encode(value)?);
        self.close(&text)
    }

    fn close(mut self, text: &str) -> Result<()> {
        self.has_ended = true;
        let head = if self.has_begun { "" } else { &self.before };
        self.output.line(&format!("{head}{text}"))?;
        self.output.finish()
    }
}

impl Drop for List<'_> {
    fn drop(&mut self) {
        if self.has_begun && !self.has_ended {
            // There is an error already, which this one would only hide.
            let _ = self.output.line("");
        }
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
        let mut list = List::new(&output, &LsHead { snapshot: "ab".into() }, "entries").unwrap();
        items.iter().for_each(|item| list.item(item).unwrap());
        list.encoded("{}").unwrap();
        match total {
            Some(total) => list.end_with("total", &total).unwrap(),
            None => list.end().unwrap(),
        }
        kept.text()
    }

    #[test]
    fn what_fails_before_the_first_item_prints_nothing_and_later_ends_the_line() {
        let kept = Kept::default();
        let output = kept.output();
        let begun = || List::new(&output, &LsHead { snapshot: "ab".into() }, "entries").unwrap();
        drop(begun());
        assert_eq!(kept.text(), "");
        begun().item(&1).unwrap();
        assert_eq!(kept.text(), "{\"v\":1,\"type\":\"ls\",\"snapshot\":\"ab\",\"entries\":[1\n");
    }

    #[test]
    fn a_list_written_in_parts_is_one_document() {
        assert_eq!(written(&[], None), "{\"v\":1,\"type\":\"ls\",\"snapshot\":\"ab\",\"entries\":[{}]}\n");
        assert_eq!(
            written(&[1, 2], Some(3)),
            "{\"v\":1,\"type\":\"ls\",\"snapshot\":\"ab\",\"entries\":[1,2,{}],\"total\":3}\n"
        );
    }
}
