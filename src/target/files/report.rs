//! What was written, and what could not be.

use super::metadata::Lost;
use crate::text;

/// How many warnings are kept word by word; the others are counted.
pub const WARNINGS_MAX: usize = 100;

/// What was written, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Regular files, without further names of the same file.
    pub files: u64,
    /// Folders, the root among them if it was given.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Named pipes and devices.
    pub specials: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Entries whose owner or group could not be set.
    pub owners_skipped: u64,
    /// `security.*` and `trusted.*` attributes that could not be set.
    pub attributes_skipped: u64,
    /// For people, safe to print, each naming what it speaks of.
    pub warnings: Vec<String>,
    /// Warnings beyond [`WARNINGS_MAX`].
    pub warnings_left_out: u64,
}

impl Report {
    /// All that was made.
    pub fn entries(&self) -> u64 {
        self.files + self.directories + self.symlinks + self.specials + self.hard_links
    }
}

/// A report being made.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub report: Report,
}

impl Tally {
    /// Notes what of an entry's metadata could not be set.
    pub fn add(&mut self, path: &[u8], lost: Lost) {
        self.report.owners_skipped += u64::from(lost.owner);
        self.report.attributes_skipped += lost.protected_attributes;
        for what in lost.others {
            self.warn(path, &what);
        }
    }

    /// Adds a warning about an entry.
    pub fn warn(&mut self, path: &[u8], what: &str) {
        if self.report.warnings.len() < WARNINGS_MAX {
            let shown = if path.is_empty() { "the folder itself".to_owned() } else { text::escape(path) };
            self.report.warnings.push(format!("{shown}: {what}"));
        } else {
            self.report.warnings_left_out += 1;
        }
    }

    /// The report, with a word about what was only counted.
    pub fn close(&mut self) -> Report {
        let mut report = std::mem::take(&mut self.report);
        if report.owners_skipped > 0 {
            let count = report.owners_skipped;
            report.warnings.push(format!(
                "{count} entries belong to whoever restored them, without set-id bits: \
                 giving them to their owners takes more rights"
            ));
        }
        if report.attributes_skipped > 0 {
            let count = report.attributes_skipped;
            report.warnings.push(format!("{count} security.* and trusted.* attributes could not be set"));
        }
        report
    }
}
