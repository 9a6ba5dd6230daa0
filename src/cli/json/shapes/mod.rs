//! The shapes. Times are RFC 3339 in UTC; ids are whole.

mod database;
mod drill;
mod files;
mod repository;
mod retention;
mod run;
mod snapshots;

pub use self::database::*;
pub use self::drill::*;
pub use self::files::*;
pub use self::repository::*;
pub use self::retention::*;
pub use self::run::*;
pub use self::snapshots::*;
use super::Document;

macro_rules! documents {
    ($($shape:ident $(<$life:lifetime>)? = $name:literal),* $(,)?) => {
        $(impl $(<$life>)? Document for $shape $(<$life>)? {
            const TYPE: &'static str = $name;
        })*

        #[cfg(test)]
        const TYPES: &[&str] = &[$($name),*];
    };
}

documents! {
    Summary = "summary",
    Failure<'a> = "error",
    Warning<'a> = "warning",
    Init<'a> = "init",
    Snapshots<'a> = "snapshots",
    Show<'a> = "snapshot",
    LsHead = "ls",
    TablesHead<'a> = "tables",
    QueryHead<'a> = "query",
    FindHead = "find",
    DiffHead = "diff",
    RowDiffHead<'a> = "row-diff",
    Plan<'a> = "plan",
    Lost<'a> = "lost",
    DatabasePlan<'a> = "database-plan",
    RestoredTable<'a> = "restored-table",
    RestoredDatabase<'a> = "restored-database",
    Drilled<'a> = "drilled",
    Drill<'a> = "drill",
    Forget = "forget",
    Prune = "prune",
    Remark = "remark",
    Trash = "trash",
    Undelete = "undelete",
    Damage<'a> = "damage",
    Check<'a> = "check",
    Stats = "stats",
    Keys = "keys",
    KeyChange = "key",
    Version = "version",
}

#[cfg(test)]
mod testing {
    pub fn id(digit: char) -> String {
        digit.to_string().repeat(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_described() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
        for name in TYPES {
            assert!(page.contains(&format!("\"type\":\"{name}\"")), "{name}");
        }
    }
}
