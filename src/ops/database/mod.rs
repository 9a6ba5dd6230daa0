//! A database in a snapshot, opened where it lies: only the blocks that a statement needs are read. Its rows, or all of
//! it, go back into the world from here.

mod place;
mod proof;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::facts::facts_of;
use crate::entry::Kind as EntryKind;
use crate::error::{Error, Kind, Result};
use crate::event::{Cancel, Job};
use crate::record::{Depth, Facts, SourceBody};
use crate::repo::{ChunkReader, EntryReader, FileReader};
use crate::source::sqlite;
use crate::sql::{self, Unasked};
use crate::text;
use crate::tree::{Found, StoredEntry, TreeWalk};
use crate::vfs::{self, Image, Opened};

pub(super) use place::stamp;
pub use place::{Place, Placed, flaw, origin, place};
pub use proof::{About, Compared, Finding, compare, recorded, told};
pub use table::{Form, Into, put_table, write_table};

impl Image for FileReader<'_> {
    fn bytes(&self) -> u64 {
        self.entry().size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        FileReader::read_at(self, offset, buffer).map_err(needed)
    }
}

/// What a snapshot needs and is not there is damage, and not something that somebody named wrongly.
fn needed(error: Error) -> Error {
    if error.kind() == Kind::Missing { error.with_kind(Kind::Damage) } else { error }
}

/// A database in a snapshot.
#[derive(Debug)]
pub struct Database<'r> {
    /// Where it lies below its source's root.
    pub path: Vec<u8>,
    /// What was seen when it was saved; `None` where it was saved as a plain file.
    pub facts: Option<Facts>,
    /// Why what it tells may not be all, safe to print.
    pub doubts: Vec<String>,
    /// Where a part of it is that is not looked at; `None`: this is all of it.
    pub torn: Option<String>,
    file: FileReader<'r>,
}

impl<'r> Database<'r> {
    /// The database that a path of a source means: a file, or a folder with one database below it.
    pub fn find(reader: &'r ChunkReader<'r>, source: &SourceBody, path: &[u8]) -> Result<Self> {
        let found = one(reader, source, path)?;
        let mut database = Self::of(reader, &found)?;
        database.torn = place::torn(&database, source)?;
        if let Some(why) = &database.torn {
            database.doubts.push(format!("{}: {why}, which is not looked at", text::escape(&database.path)));
        }
        Ok(database)
    }

    /// The database that a file is.
    pub fn of(reader: &'r ChunkReader<'r>, found: &Found) -> Result<Self> {
        let stored = super::list::light(found)?;
        let mut doubts = Vec::new();
        let facts = facts_of(reader, &found.path, &stored).unwrap_or_else(|e| {
            let path = text::escape(&found.path);
            doubts.push(format!("{path}: what was seen of it when it was saved cannot be read: {e}"));
            None
        });
        Ok(Self { path: found.path.clone(), facts, doubts, torn: None, file: stored_file(reader, found)? })
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.file.entry().size
    }

    /// The same, but what it has in common with another state of it is read once, where both are read side by side.
    pub fn sharing(mut self, other: &Self) -> Self {
        self.file = self.file.sharing(&other.file);
        self
    }

    /// How many blocks were fetched for it.
    pub fn blocks_read(&self) -> u64 {
        self.file.chunks_read()
    }

    /// Whether it was saved as one, or begins like one.
    pub fn is_one(&self) -> Result<bool> {
        if self.facts.is_some() {
            return Ok(true);
        }
        // Those that are cut short, or have something behind their end, are nothing to compare.
        let is_whole = self.file.entry().size >= 512 && self.file.entry().size.is_multiple_of(512);
        Ok(is_whole && begins_like_one(&self.file)?)
    }

    /// Opens it for statements that only read. It is not trusted: nothing is written, loaded or attached. `stop` is asked
    /// now and then while a statement runs.
    pub fn open(&self, stop: impl FnMut() -> bool + Send + 'static) -> Result<Opened<'_>> {
        if self.facts.is_none() && self.file.entry().size == 0 {
            let what = format!("{} is no SQLite database", text::escape(&self.path));
            return Err(Error::new(Kind::Usage, what).why("it is empty"));
        }
        let mut opened = open(&self.file, &self.path)?;
        opened.stop_when(stop)?;
        let limited = sql::limit(&opened, sql::Limits::default());
        because(&opened, limited)?;
        Ok(opened)
    }

    /// Its tables and views, with the rows that were counted when it was saved, or are counted now. What makes one of them
    /// unreadable is told beside it; what is wrong with the repository makes this fail.
    pub fn tables(&self, stop: impl FnMut() -> bool + Send + 'static, job: Job<'_>) -> Result<Vec<sql::Table>> {
        let opened = self.open(stop)?;
        let tables = sql::tables(&opened, self.facts.is_none());
        job.cancel.check()?;
        let mut tables = because(&opened, tables)?;
        if let Some(failure) = opened.failure() {
            return Err(failure);
        }
        let recorded = self.facts.iter().flat_map(|facts| &facts.tables);
        let recorded: HashMap<_, _> = recorded.map(|table| (table.name.as_slice(), table.rows)).collect();
        for table in &mut tables {
            table.rows = table.rows.or_else(|| *recorded.get(table.name.as_slice())?);
        }
        Ok(tables)
    }
}

/// The result of a statement. Where it failed because the repository could not be read, that is why; where the image
/// itself is broken, it was so when it was saved, and nothing is wrong with the repository.
pub fn because<T>(opened: &Opened<'_>, result: Result<T>) -> Result<T> {
    result.map_err(|e| match opened.failure() {
        Some(failure) => failure,
        None if e.kind() == Kind::Damage => e.with_kind(Kind::Failed).fix(
            "the database was saved as it is; `larder check` says whether the repository is sound, and an older snapshot \
             may have it whole",
        ),
        None => e,
    })
}

/// The file that a path means: itself, or the one database below a folder.
fn one(reader: &ChunkReader<'_>, source: &SourceBody, path: &[u8]) -> Result<Found> {
    let found = super::list::found_at(reader, source, path)?;
    if super::list::light(&found)?.entry.kind != EntryKind::Directory {
        return Ok(found);
    }
    let shown = || if path.is_empty() { text::escape(&source.name) } else { text::escape(path) };
    let mut below = below(reader, source, path)?;
    match below.len() {
        1 => Ok(below.remove(0)),
        0 => Err(Error::new(Kind::Missing, format!("there is no database in {}", shown()))
            .fix("name the file itself, if it was saved as a plain file")),
        _ => {
            let names: Vec<_> = below.iter().map(|found| text::escape(&found.path)).collect();
            Err(Error::new(Kind::Usage, format!("there are several databases in {}", shown()))
                .why(names.join(", "))
                .fix("name one of them"))
        }
    }
}

/// Whether a record is that of an image of a database.
pub(super) fn is_image(record: &[u8]) -> bool {
    StoredEntry::parse(record).is_ok_and(|stored| stored.facts.is_some())
}

/// The databases below a folder, as far as they were saved as such.
fn below(reader: &ChunkReader<'_>, source: &SourceBody, folder: &[u8]) -> Result<Vec<Found>> {
    let mut out = Vec::new();
    for found in TreeWalk::below(reader, &source.root, folder) {
        let found = found.map_err(|e| super::restore::unreadable(&e))?;
        if super::list::light(&found)?.facts.is_some() {
            out.push(found);
        }
    }
    Ok(out)
}

/// The stored file behind an entry that was found.
fn stored_file<'r>(reader: &'r ChunkReader<'r>, found: &Found) -> Result<FileReader<'r>> {
    let entry = reader.entry(&found.record).map_err(needed)?;
    if entry.kind != EntryKind::File {
        let path = text::escape(&found.path);
        return Err(Error::new(Kind::Usage, format!("{path} is no database")).why("it is no file"));
    }
    Ok(FileReader::new(reader, entry))
}

fn begins_like_one(file: &FileReader<'_>) -> Result<bool> {
    let mut first = [0; 16];
    if file.entry().size < first.len() as u64 {
        return Ok(false);
    }
    Image::read_at(file, 0, &mut first)?;
    Ok(&first == b"SQLite format 3\0")
}

/// Opens the database that a stored file is.
fn open<'i>(file: &'i FileReader<'_>, path: &[u8]) -> Result<Opened<'i>> {
    if file.entry().size > 0 && !begins_like_one(file)? {
        return Err(Error::new(Kind::Usage, format!("{} is no SQLite database", text::escape(path)))
            .why("it does not begin like one; an encrypted one looks so, too")
            .fix("restore it as a file, and open it with the program that made it"));
    }
    vfs::open(file)
}

/// What is known of a stored image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong; nothing: it is sound.
    pub wrong: Vec<Vec<u8>>,
    /// What the engine could not be asked, for want of what belongs to an application. All pages were looked at.
    pub unasked: Vec<Unasked>,
}

/// What the engine finds wrong with a stored image.
pub fn check(reader: &ChunkReader<'_>, record: &[u8], depth: Depth, cancel: &Cancel) -> Result<Checked> {
    let file = FileReader::new(reader, reader.entry(record)?);
    let mut opened = open(&file, b"the image")?;
    let asked = cancel.clone();
    opened.stop_when(move || asked.is_cancelled())?;
    sql::limit(&opened, sql::Limits::default())?;
    let depth = match depth {
        Depth::Pages => sqlite::Check::Quick,
        Depth::Full => sqlite::Check::Full,
    };
    let checked = match sqlite::check(&opened, depth) {
        Ok(wrong) => Ok(Checked { wrong: wrong.into_iter().map(String::into_bytes).collect(), unasked: Vec::new() }),
        Err(e) => piecemeal(&opened, depth, e, cancel),
    };
    if let Some(failure) = opened.failure() {
        return Err(failure);
    }
    cancel.check()?;
    checked
}

/// What can be asked of it, where all of it cannot for want of what belongs to an application.
fn piecemeal(opened: &Opened<'_>, depth: sqlite::Check, error: Error, cancel: &Cancel) -> Result<Checked> {
    let asked = sql::by_table(opened, depth == sqlite::Check::Quick)?;
    if asked.unasked.is_empty() {
        return Err(error);
    }
    let Some(pages) = sqlite::look_at_pages(opened, cancel)? else { return Err(error) };
    let wrong = asked.wrong.into_iter().chain(pages.wrong).map(String::into_bytes).collect();
    Ok(Checked { wrong, unasked: asked.unasked })
}
