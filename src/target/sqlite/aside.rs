//! A database that gives way to another one: all of it gets a new name, and nothing of it is deleted.
//!
//! The log is part of a database: without it, the file alone is older, or no whole state at all. Two names cannot change
//! at once, so the log (or journal) first gets its new name besides the old one, as a hard link. Then the database is
//! renamed, and in this moment it is complete under the new name; under the old one there is none. Only then the old
//! names of the log go. Wherever this stops, the old database is complete under one of the two names, and what is left
//! at the old one is nothing, or a log without a database, which the engine never uses: it removes the name, and the data
//! has another. Running it again removes such a name, too.
//!
//! Where a file system has no hard links, the log is renamed after the database. A crash right between the two leaves
//! the log under its old name, where the next run finds it and sets it aside by itself.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{INDEX_FILE, STATE_FILES, beside};
use crate::error::{Error, Kind, Result};
use crate::text;

/// What stands between a database's name and the time at which it was set aside.
const WORDS: &str = ".before-larder-";

/// One change to a folder, after which a crash is survived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Gives a file a second name, if the file system can do that.
    Keep {
        /// Its name.
        from: PathBuf,
        /// Its second name.
        to: PathBuf,
    },
    /// Gives a file another name, which is free.
    Rename {
        /// Its name.
        from: PathBuf,
        /// Its new name.
        to: PathBuf,
    },
    /// Takes a name away from a file that has another one; or renames it, if that other name could not be given.
    Leave {
        /// The name that goes.
        from: PathBuf,
        /// The other name.
        to: PathBuf,
    },
    /// Removes a file without data of its own.
    Remove(PathBuf),
    /// Brings the folder to the disk.
    Sync,
}

/// How a database gives way, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    folder: PathBuf,
    steps: Vec<Step>,
    moved: Vec<(PathBuf, PathBuf)>,
}

impl SetAside {
    /// What there is to do for the database at this path, if there is one, and for what lies beside it. `time` becomes
    /// part of the new name. While it is planned and done, nobody else uses the database.
    pub fn plan(database: &Path, time: &str) -> Result<Self> {
        let failed = |e: io::Error| cannot(database, &e);
        let folder = database.parent().unwrap_or(Path::new("/")).to_owned();
        let aside = free_name(database, time).map_err(failed)?;
        let mut new = Self { folder, steps: Vec::new(), moved: Vec::new() };
        let is_there = size(database).map_err(failed)?.is_some();
        let mut last = Vec::new();
        for ending in STATE_FILES {
            let (from, to) = (beside(database, ending), beside(&aside, ending));
            match size(&from).map_err(failed)? {
                None => {}
                Some(0) => last.push(Step::Remove(from)),
                Some(_) => new.state_file(database, ending, (from, to), is_there, &mut last).map_err(failed)?,
            }
        }
        if is_there {
            new.steps.push(Step::Sync);
            new.steps.push(Step::Rename { from: database.to_owned(), to: aside.clone() });
            new.moved.insert(0, (database.to_owned(), aside));
            new.steps.push(Step::Sync);
        }
        let index = beside(database, INDEX_FILE);
        if size(&index).map_err(failed)?.is_some() {
            last.push(Step::Remove(index));
        }
        if !last.is_empty() {
            new.steps.extend(last);
            new.steps.push(Step::Sync);
        }
        Ok(new)
    }

    /// A log or journal with something in it.
    fn state_file(
        &mut self,
        database: &Path,
        ending: &str,
        (from, to): (PathBuf, PathBuf),
        is_there: bool,
        last: &mut Vec<Step>,
    ) -> io::Result<()> {
        let names = other_names(database, ending, &from)?;
        if is_there {
            // Second names from a run that was stopped before the database got its own.
            let alone = names.into_iter().filter(|(_, database)| !database.exists());
            self.steps.extend(alone.map(|(name, _)| Step::Leave { from: name, to: from.clone() }));
            self.steps.push(Step::Keep { from: from.clone(), to: to.clone() });
            last.push(Step::Leave { from: from.clone(), to: to.clone() });
            self.moved.push((from, to));
        } else if let Some((name, _)) = names.into_iter().next() {
            last.push(Step::Leave { from, to: name });
        } else {
            last.push(Step::Rename { from: from.clone(), to: to.clone() });
            self.moved.push((from, to));
        }
        Ok(())
    }

    /// What is done, in this order. Any of them may be the last, if there is a crash.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What gets other names: the old one and the new one; the database first, if it is there.
    pub fn moved(&self) -> &[(PathBuf, PathBuf)] {
        &self.moved
    }

    /// Does all of it.
    pub fn run(&self) -> Result<()> {
        self.steps.iter().try_for_each(|step| self.step(step))
    }

    /// Does one step.
    pub fn step(&self, step: &Step) -> Result<()> {
        let done = match step {
            Step::Keep { from, to } => keep(from, to),
            Step::Rename { from, to } => rename_new(from, to),
            Step::Leave { from, to } => leave(from, to),
            Step::Remove(path) => fs::remove_file(path),
            Step::Sync => File::open(&self.folder).and_then(|folder| folder.sync_all()),
        };
        done.map_err(|e| match step {
            Step::Keep { from, .. } | Step::Rename { from, .. } | Step::Leave { from, .. } => cannot(from, &e),
            Step::Remove(path) => cannot(path, &e),
            Step::Sync => cannot(&self.folder, &e),
        })
    }
}

fn keep(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(e)
            if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::TooManyLinks) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Under the lock nobody makes the name meanwhile; that it is free was looked at.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

fn leave(from: &Path, to: &Path) -> io::Result<()> {
    match (id(from)?, id(to)?) {
        (Some(from_id), Some(to_id)) if from_id == to_id => fs::remove_file(from),
        (Some(_), None) => fs::rename(from, to),
        (None, Some(_)) => Ok(()),
        _ => Err(io::Error::other(format!("{} is not the same file any more", text::path(to)))),
    }
}

/// The name under which a database is set aside, with none of its files there yet.
fn free_name(database: &Path, time: &str) -> io::Result<PathBuf> {
    for n in 1_u32.. {
        let number = if n == 1 { String::new() } else { format!(".{n}") };
        let name = beside(database, &format!("{WORDS}{time}{number}"));
        let mut is_free = true;
        for ending in STATE_FILES.into_iter().chain(["", INDEX_FILE]) {
            is_free &= size(&beside(&name, ending))?.is_none();
        }
        if is_free {
            return Ok(name);
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Names that earlier runs gave to this very file, each with that of the database it was meant for.
fn other_names(database: &Path, ending: &str, file: &Path) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let begin = beside(database, WORDS);
    let begin = begin.file_name().unwrap_or_default().as_bytes();
    let mut out = Vec::new();
    for entry in fs::read_dir(database.parent().unwrap_or(Path::new("/")))? {
        let name = entry?.file_name();
        let Some(of) = name.as_bytes().strip_suffix(ending.as_bytes()).filter(|of| of.starts_with(begin)) else {
            continue;
        };
        let path = database.with_file_name(&name);
        if id(&path)? == id(file)? {
            out.push((path, database.with_file_name(OsStr::from_bytes(of))));
        }
    }
    Ok(out)
}

fn size(path: &Path) -> io::Result<Option<u64>> {
    Ok(look(path)?.map(|meta| meta.len()))
}

fn id(path: &Path) -> io::Result<Option<(u64, u64)>> {
    Ok(look(path)?.map(|meta| (meta.dev(), meta.ino())))
}

fn look(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn cannot(path: &Path, error: &io::Error) -> Error {
    let error = Error::io(format!("cannot set {} aside", text::path(path)), error);
    if error.kind() == Kind::Missing { error.with_kind(Kind::Failed) } else { error }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::target::files::{Draft, Existing};

    const ROWS: i64 = 300;

    /// The files of a database that was left in the middle of its work, so that a part of it is beside it.
    fn left_behind(journal: &str) -> TempDir {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let db = Connection::open(from.path().join("a.db")).unwrap();
        let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
            INSERT INTO t SELECT i, hex(randomblob(300)) FROM n;";
        db.execute_batch(&format!("PRAGMA journal_mode = {journal}; CREATE TABLE t(a INTEGER, b);")).unwrap();
        if journal == "WAL" {
            db.execute_batch(&format!("PRAGMA wal_autocheckpoint = 0; {rows}")).unwrap();
        } else {
            // Half written back, with a journal to undo it.
            let half =
                "PRAGMA cache_size = 5; PRAGMA cache_spill = 5; BEGIN; UPDATE t SET a = 0, b = hex(randomblob(299))";
            db.execute_batch(&format!("{rows} {half}")).unwrap();
        }
        for entry in fs::read_dir(from.path()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
        }
        to
    }

    fn new_one(folder: &Path) -> Draft {
        let draft = Draft::create(&folder.join("a.db"), Existing::Overwrite, None).unwrap();
        let db = Connection::open(draft.path()).unwrap();
        db.execute_batch("CREATE TABLE t(a INTEGER, b); INSERT INTO t VALUES (-1, 'new')").unwrap();
        db.close().unwrap();
        draft
    }

    /// The sum of a database's first column, looked at in a copy of it and of what lies beside it; none: it is not
    /// there. A log that is not its own would make another sum.
    fn sum(database: &Path) -> Option<i64> {
        if !database.exists() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for ending in ["", "-wal", "-journal"] {
            let from = beside(database, ending);
            if from.exists() {
                fs::copy(from, folder.path().join(format!("x{ending}"))).unwrap();
            }
        }
        let db = Connection::open(folder.path().join("x")).unwrap();
        assert_eq!(db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
        Some(db.query_row("SELECT sum(a) FROM t", [], |row| row.get(0)).unwrap())
    }

    fn asides(folder: &Path) -> Vec<PathBuf> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let is_aside = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("a.db.before-larder-") && !name.ends_with("-wal") && !name.ends_with("-journal")
        };
        let mut asides: Vec<_> = names.filter(is_aside).collect();
        asides.sort();
        asides
    }

    #[test]
    fn wherever_it_stops_the_old_database_is_complete_and_running_again_heals() {
        let old = Some(ROWS * (ROWS + 1) / 2);
        for journal in ["WAL", "DELETE"] {
            let mut counts = BTreeSet::new();
            for stop in 0.. {
                let folder = left_behind(journal);
                let database = folder.path().join("a.db");
                let ending = if journal == "WAL" { "-wal" } else { "-journal" };
                assert!(beside(&database, ending).exists(), "{journal}");
                let plan = SetAside::plan(&database, "1").unwrap();
                if stop > plan.steps().len() {
                    break;
                }
                plan.steps()[..stop].iter().for_each(|step| plan.step(step).unwrap());
                let found = asides(folder.path());
                let about = format!("{journal}, {stop} steps of {:?}", plan.steps());
                match found.as_slice() {
                    [] => assert_eq!(sum(&database), old, "{about}"),
                    [aside] => assert_eq!((sum(aside), sum(&database)), (old, None), "{about}"),
                    _ => panic!("{found:?}"),
                }
                counts.insert(found.len());
                let again = SetAside::plan(&database, "2").unwrap();
                again.run().unwrap();
                new_one(folder.path()).publish_new().unwrap();
                assert_eq!(sum(&database), Some(-1), "{about}");
                let found = asides(folder.path());
                assert!(found.len() == 1 && sum(&found[0]) == old, "{about}: {found:?}");
                let names = fs::read_dir(folder.path()).unwrap().count();
                assert_eq!(names, 3, "the new one, the old one and its {ending}: {about}");
            }
            assert_eq!(counts.into_iter().collect::<Vec<_>>(), [0, 1]);
        }
    }

    #[test]
    fn a_log_alone_is_kept_and_names_are_never_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        for n in 1..=2 {
            fs::write(beside(&database, "-wal"), format!("log {n}")).unwrap();
            fs::write(beside(&database, "-shm"), "index").unwrap();
            fs::write(beside(&database, "-journal"), "").unwrap();
            SetAside::plan(&database, "T").unwrap().run().unwrap();
        }
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["a.db.before-larder-T-wal", "a.db.before-larder-T.2-wal"]);
        assert_eq!(SetAside::plan(&database, "T").unwrap().steps(), []);
    }

    #[test]
    fn without_hard_links_the_log_follows_the_database() {
        let folder = left_behind("WAL");
        let database = folder.path().join("a.db");
        let plan = SetAside::plan(&database, "1").unwrap();
        let is_link = |step: &&Step| !matches!(step, Step::Keep { .. });
        plan.steps().iter().filter(is_link).for_each(|step| plan.step(step).unwrap());
        assert_eq!(sum(&plan.moved()[0].1), Some(ROWS * (ROWS + 1) / 2));
        assert_eq!(plan.moved().len(), 2);
    }
}
