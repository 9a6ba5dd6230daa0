//! Databases and their rows, back into the world: exactly, as one step, and never over what somebody uses.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;

use super::text;
use crate::support::files_below;
use crate::support::program::{Machine, Run};

fn make(path: &Path, sql: &str) -> Connection {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = Connection::open(path).unwrap();
    db.execute_batch(sql).unwrap();
    db
}

/// Every row of an answer, each value with its type.
fn rows(db: &Connection, sql: &str) -> Vec<Vec<String>> {
    let mut statement = db.prepare(sql).unwrap();
    let count = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut out = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        out.push((0..count).map(|n| format!("{:?}", row.get_ref(n).unwrap())).collect());
    }
    out
}

fn rows_of(path: &Path, sql: &str) -> Vec<Vec<String>> {
    rows(&Connection::open(path).unwrap(), sql)
}

fn number(path: &Path, sql: &str) -> i64 {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", text(path)))
}

/// What is in a folder, by name.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// All files with their content.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files_below(folder).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

const CREDENTIALS: &str = "CREATE TABLE credentials(id INTEGER PRIMARY KEY, provider TEXT, token TEXT UNIQUE, at REAL);
    CREATE INDEX by_provider ON credentials(provider);
    INSERT INTO credentials VALUES(1, 'claude', 'c1', 1.5), (2, 'openai', 'o1', 2), (3, 'claude', 'c2', NULL),
        (4, 'openai', 'o2', 4.25), (7, 'claude', 'c3', 1e300);
    CREATE TABLE log(n INTEGER PRIMARY KEY, what TEXT);
    CREATE TRIGGER notes AFTER INSERT ON credentials BEGIN INSERT INTO log(what) VALUES('insert'); END;
    CREATE TRIGGER notes_too AFTER UPDATE ON credentials BEGIN INSERT INTO log(what) VALUES('update'); END;";

/// A machine with one database, in the mode that is given, and a snapshot of it.
fn machine(journal: &str) -> (Machine, PathBuf) {
    let machine = Machine::new();
    let path = machine.place("app/data/a.db");
    make(&path, &format!("PRAGMA journal_mode = {journal}; {CREDENTIALS}")).close().unwrap();
    machine.backup(&machine.place("app")).expect(0);
    (machine, path)
}

fn restore(machine: &Machine, more: &[&str]) -> Run {
    machine.run(["restore", "latest:app"].iter().chain(more))
}

/// One provider's rows are given back, and nobody else's are touched.
#[test]
fn rows_of_one_provider_go_back_into_the_live_database() {
    for journal in ["WAL", "DELETE"] {
        let (machine, path) = machine(journal);
        let of = |provider: &str| format!("SELECT * FROM credentials WHERE provider = '{provider}' ORDER BY id");
        let claude = rows_of(&path, &of("claude"));
        // The application goes on meanwhile, and has it open.
        let live = make(
            &path,
            "UPDATE credentials SET token = 'broken' WHERE id = 1; DELETE FROM credentials WHERE id = 3;
             UPDATE credentials SET token = token || ' new' WHERE provider = 'openai'; DELETE FROM log;",
        );
        let openai = rows(&live, &of("openai"));
        let only = ["--table", "credentials", "--where", "provider='claude'", "--apply"];
        let with = |more: &[&'static str]| restore(&machine, &[&only, more].concat());
        with(&[]).expect(1).says("already there");
        assert_eq!(rows(&live, "SELECT count(*) FROM credentials"), [["Integer(4)"]], "nothing is half done");
        with(&["--on-conflict", "skip"]).expect(0).prints("1 row inserted, 0 replaced, 2 skipped");
        assert_eq!(
            rows(&live, "SELECT token FROM credentials WHERE id = 1"),
            [["Text([98, 114, 111, 107, 101, 110])"]]
        );
        let run = with(&["--on-conflict", "replace"]).expect(0);
        assert!(run.stdout.contains("0 rows inserted, 3 replaced, 0 skipped"), "{run:?}");
        assert_eq!(rows(&live, &of("claude")), claude);
        assert_eq!(rows(&live, &of("openai")), openai);
        assert_eq!(rows(&live, "SELECT count(*) FROM log"), [["Integer(0)"]], "no trigger fires");
        assert_eq!(rows(&live, "PRAGMA integrity_check"), rows(&live, "SELECT 'ok'"));
        let json = with(&["--on-conflict", "replace", "--json"]).expect(0);
        let lines: Vec<serde_json::Value> =
            json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{json:?}");
        assert_eq!((&lines[0]["type"], &lines[0]["replaced"]), (&"restored-table".into(), &3.into()));
        assert_eq!((&lines[1]["type"], &lines[1]["command"]), (&"summary".into(), &"restore".into()));
    }
}

#[test]
fn rows_are_written_as_csv_json_lines_and_sql() {
    let (machine, path) = machine("WAL");
    let export = |more: &[&str]| restore(&machine, &[&["--table", "credentials"], more].concat());
    let csv = export(&["--where", "id < 4", "--csv", "-"]).expect(0).stdout;
    assert_eq!(csv, "id,provider,token,at\r\n1,claude,c1,1.5\r\n2,openai,o1,2.0\r\n3,claude,c2,\r\n");
    let lines = "{\"id\":3,\"provider\":\"claude\",\"token\":\"c2\",\"at\":null}\n";
    for option in ["--jsonl", "--json"] {
        assert_eq!(export(&["--where", "id = 3", option, "-"]).expect(0).stdout, lines);
    }
    let sql = export(&["--sql", "-"]).expect(0).stdout;
    let again = Connection::open_in_memory().unwrap();
    again.execute_batch("CREATE TABLE log(n INTEGER PRIMARY KEY, what TEXT)").unwrap();
    again.execute_batch(&sql).unwrap();
    let all = "SELECT rowid, * FROM credentials ORDER BY id";
    assert_eq!(rows(&again, all), rows_of(&path, all));
    let schema = "SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'credentials' ORDER BY name";
    assert_eq!(rows(&again, schema), rows_of(&path, schema));
}

#[test]
fn files_with_rows_are_whole_private_and_replaced_only_when_asked() {
    let (machine, _) = machine("WAL");
    let file = machine.place("out/rows");
    fs::create_dir(machine.place("out")).unwrap();
    let export = |more: &[&str]| restore(&machine, &[&["--table", "credentials"], more].concat());
    for option in ["--csv", "--jsonl", "--sql"] {
        export(&[option, text(&file)]).expect(0).prints("wrote 5 rows of credentials");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let before = fs::read(&file).unwrap();
        export(&[option, text(&file)]).expect(1).says("--overwrite");
        // What fails half-way, here on the third row, leaves the file as it was.
        let fails = "CASE id WHEN 3 THEN abs(-9223372036854775808) ELSE 1 END";
        export(&[option, text(&file), "--overwrite", "--where", fails]).expect(1).says("integer overflow");
        assert_eq!(fs::read(&file).unwrap(), before);
        export(&[option, text(&file), "--overwrite", "--where", "0"]).expect(0).prints("wrote 0 rows");
        assert_eq!(names(&machine.place("out")), ["rows"]);
        fs::remove_file(&file).unwrap();
    }
    let json = export(&["--csv", text(&file), "--json"]).expect(0);
    let first: serde_json::Value = serde_json::from_str(json.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["form"], &first["rows"]), (&"csv".into(), &5.into()), "{json:?}");
    let inside = machine.repository.join("rows");
    export(&["--csv", text(&inside)]).expect(2).says("lies in the repository");
    export(&["--csv", "/dev/full", "--overwrite"]).expect(1).says("something else than a regular file");
    export(&["--csv", text(&machine.place("none/rows"))]).expect(1);
}

#[test]
fn without_an_output_the_plan_is_shown_and_nothing_changes() {
    let (machine, path) = machine("DELETE");
    let before = contents(&machine.place("app"));
    let run = restore(&machine, &["--table", "CREDENTIALS"]).expect(0).prints("plan: snapshot ").prints("5 rows");
    assert!(run.stdout.contains(text(&path)) && run.stdout.contains("say where with --apply"), "{run:?}");
    let only = ["--table", "credentials", "--where", "id = 1"];
    restore(&machine, &[&only[..], &["--apply", "-n"]].concat())
        .expect(0)
        .prints("which is there")
        .prints("without -n");
    restore(&machine, &["--apply", "-n"]).expect(0).prints("where another one is");
    let new = machine.place("new.db");
    restore(&machine, &["--to", &format!("sqlite:{}", text(&new)), "-n"]).expect(0).prints("which is made");
    restore(&machine, &["--table", "nothing"]).expect(1).says("no table nothing");
    let json = restore(&machine, &[&only[..], &["--json"]].concat()).expect(0).json();
    assert_eq!((&json["type"], &json["rows"], &json["where"]), (&"database-plan".into(), &5.into(), &"id = 1".into()));
    assert_eq!((&json["origin"], &json["to"], &json["path"]), (&text(&path).into(), &().into(), &"data/a.db".into()));
    assert_eq!(contents(&machine.place("app")), before);
    assert!(!new.exists());
}

/// Everything that a table can hold, and be called.
const ODD: &str = r#"
    CREATE TABLE "a ""quoted"" naïve; table"("id x" INTEGER PRIMARY KEY AUTOINCREMENT, "sélect" TEXT, v);
    INSERT INTO "a ""quoted"" naïve; table" VALUES(-9223372036854775808, 'a', 9223372036854775807), (5, NULL, -0.0),
        (9223372036854775806, '', 9e999), (6, CAST(x'61ff00' AS TEXT), x''), (7, 'ż', x'00ff'), (8, 'x', 0.1);
    CREATE TABLE keyed(a TEXT COLLATE NOCASE, b INTEGER, c, PRIMARY KEY(a, b)) WITHOUT ROWID;
    INSERT INTO keyed VALUES('B', 1, 'x'), ('a', 2, x'01'), ('C', 3, NULL);
    CREATE TABLE computed(a INTEGER, b AS (a + 1), c AS (a * 2) STORED, d); INSERT INTO computed(rowid, a, d) VALUES(9, 1, 'x'), (3, 2, 'y');
    CREATE TABLE strict(a INTEGER, b ANY) STRICT; INSERT INTO strict VALUES(1, '007'), (2, 7);
    CREATE VIRTUAL TABLE words USING fts5(text, more); INSERT INTO words VALUES('one two', 'a'), ('two three', 'b');
    CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1); INSERT INTO boxes VALUES(1, 0, 1), (2, 5, 9.5);
    CREATE VIEW seen AS SELECT a FROM keyed;
"#;
const ODD_TABLES: [&str; 6] = ["a \"quoted\" naïve; table", "keyed", "computed", "strict", "words", "boxes"];

fn all_of(table: &str) -> String {
    let quoted = table.replace('"', "\"\"");
    let rowid = if table == "keyed" { "" } else { "rowid, " };
    format!("SELECT {rowid}* FROM \"{quoted}\" ORDER BY 1, 2")
}

#[test]
fn every_value_comes_back_exactly_into_new_databases_and_old_ones() {
    let machine = Machine::new();
    let path = machine.place("app/odd.db");
    make(&path, ODD).close().unwrap();
    machine.backup(&machine.place("app")).expect(0);
    let sequence = "SELECT * FROM sqlite_sequence";
    let to = machine.place("new.db");
    for table in ODD_TABLES {
        let put = |more: &[&str]| {
            restore(&machine, &[&["--table", table, "--to", &format!("sqlite:{}", text(&to))], more].concat())
        };
        let all = all_of(table);
        put(&[]).expect(0).prints("which was made");
        assert_eq!(rows_of(&to, &all), rows_of(&path, &all), "{table}");
        put(&[]).expect(1);
        put(&["--on-conflict", "skip"]).expect(0).prints("0 rows inserted, 0 replaced");
        put(&["--on-conflict", "replace"]).expect(0).prints("0 rows inserted");
        assert_eq!(rows_of(&to, &all), rows_of(&path, &all), "{table}");
        let script = restore(&machine, &["--table", table, "--sql", "-"]).expect(0).stdout;
        let again = Connection::open_in_memory().unwrap();
        again.execute_batch(&script).unwrap();
        assert_eq!(rows(&again, &all), rows_of(&path, &all), "{table}");
    }
    assert_eq!(rows_of(&to, sequence), rows_of(&path, sequence));
    assert_eq!(number(&to, "SELECT count(*) FROM words WHERE words MATCH 'two'"), 2);
    assert_eq!(rows_of(&to, "PRAGMA integrity_check"), rows_of(&path, "SELECT 'ok'"));
    restore(&machine, &["--table", "seen", "--csv", "-"]).expect(0).prints("a\r\na\r\nB\r\nC\r\n");
    assert_eq!(names(&machine.place("")).iter().filter(|name| name.contains("partial")).count(), 0);
    // The whole of it, too.
    let whole = machine.place("whole.db");
    restore(&machine, &["--to", &format!("sqlite:{}", text(&whole))]).expect(0);
    assert_eq!(fs::read(&whole).unwrap(), fs::read(&path).unwrap());
}

#[test]
fn references_that_lead_nowhere_are_told_or_refused() {
    let machine = Machine::new();
    let path = machine.place("app/a.db");
    let db = make(
        &path,
        "CREATE TABLE p(id INTEGER PRIMARY KEY);
         CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id) ON DELETE CASCADE);
         INSERT INTO p VALUES(1), (2); INSERT INTO c VALUES(10, 1), (20, 2);",
    );
    machine.backup(&machine.place("app")).expect(0);
    db.execute_batch("DELETE FROM c; DELETE FROM p WHERE id = 2").unwrap();
    let put = |more: &[&str]| restore(&machine, &[&["--table", "c", "--apply"], more].concat());
    put(&[]).expect(1);
    assert_eq!(rows(&db, "SELECT count(*) FROM c"), [["Integer(0)"]]);
    let run = put(&["--on-conflict", "replace"]).expect(0).prints("2 rows inserted");
    assert!(run.stderr.contains("row 20 of c refers to a row of p that is not there"), "{run:?}");
    let json = put(&["--on-conflict", "replace", "--json"]).expect(0);
    let first: serde_json::Value = serde_json::from_str(json.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["references_broken_total"], &first["references_broken"][0]["row"]), (&1.into(), &20.into()));
}

/// Leaves a database as a program that was killed leaves it: with a log that holds its last changes, or a journal.
fn leave_behind(path: &Path, change: &str) {
    let db = Connection::open(path).unwrap();
    db.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
    db.execute_batch(change).unwrap();
    let keep = path.with_file_name("kept");
    fs::create_dir(&keep).unwrap();
    for ending in ["", "-wal", "-shm", "-journal"] {
        let from = beside(path, ending);
        if from.exists() {
            fs::copy(from, keep.join(format!("x{ending}"))).unwrap();
        }
    }
    drop(db);
    for ending in ["", "-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(beside(path, ending));
        let _ = fs::rename(keep.join(format!("x{ending}")), beside(path, ending));
    }
    fs::remove_dir(keep).unwrap();
}

#[test]
fn a_whole_database_takes_the_place_of_one_that_was_left_behind_and_can_be_undone() {
    for (journal, ending) in [("WAL", "-wal"), ("DELETE", "-journal")] {
        let (machine, path) = machine(journal);
        let all = "SELECT * FROM credentials ORDER BY id";
        let saved = rows_of(&path, all);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        machine.backup(&machine.place("app")).expect(0);
        let change = "UPDATE credentials SET token = id || 'changed'; DELETE FROM credentials WHERE id = 7;";
        let blobs = "CREATE TABLE large AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300)
            SELECT i, hex(randomblob(300)) AS b FROM n;";
        let begun = "PRAGMA cache_size = 5; PRAGMA cache_spill = 5; BEGIN; UPDATE large SET b = hex(randomblob(299));";
        leave_behind(&path, &if journal == "WAL" { change.into() } else { format!("{change} {blobs} {begun}") });
        assert!(fs::metadata(beside(&path, ending)).unwrap().len() > 1000);
        let before = contents(path.parent().unwrap());
        let run = restore(&machine, &["--apply"]).expect(0).prints("the one that was there is now");
        assert_eq!(rows_of(&path, all), saved, "{journal}");
        assert!(!beside(&path, "-journal").exists() && fs::metadata(beside(&path, "-wal")).map_or(0, |m| m.len()) == 0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let folder = names(path.parent().unwrap());
        let aside: Vec<_> = folder.iter().filter(|name| name.starts_with("a.db.before-larder-")).collect();
        assert!(aside.len() == 2 && aside[1] == &format!("{}{ending}", aside[0]), "{folder:?}");
        assert!(folder.iter().all(|name| !name.contains("partial")), "{folder:?}");
        undo(&run);
        let without_index = |files: Vec<(PathBuf, Vec<u8>)>| -> Vec<_> {
            files.into_iter().filter(|(path, _)| !text(path).ends_with("-shm")).collect()
        };
        assert!(without_index(contents(path.parent().unwrap())) == without_index(before), "every byte is back");
        assert_eq!(number(&path, "SELECT count(*) FROM credentials WHERE token LIKE '%changed'"), 4);
    }
}

/// Does what the answer says undoes it.
fn undo(run: &Run) {
    let line = run.stdout.lines().find_map(|line| line.strip_prefix("to undo, while nothing uses it: ")).unwrap();
    assert!(Command::new("sh").args(["-c", line]).status().unwrap().success(), "{line}");
}

#[test]
fn a_view_is_not_put_where_what_it_reads_is_not() {
    let machine = Machine::new();
    let view = "CREATE TABLE t(a); INSERT INTO t VALUES(7); CREATE VIEW v AS SELECT a FROM t";
    make(&machine.place("app/a.db"), view).close().unwrap();
    machine.backup(&machine.place("app")).expect(0);
    let (to, script) = (machine.place("new.db"), machine.place("new.sql"));
    for goal in [["--to", &format!("sqlite:{}", text(&to))], ["--sql", text(&script)]] {
        let run = restore(&machine, &[&["--table", "v"], &goal[..]].concat()).expect(2);
        run.says("the view v").says("--csv or --jsonl");
    }
    assert!(!to.exists() && !script.exists());
    restore(&machine, &["--table", "v", "--csv", "-"]).expect(0).prints("a\r\n7\r\n");
    make(&to, "CREATE TABLE t(a)").close().unwrap();
    restore(&machine, &["--table", "v", "--to", &format!("sqlite:{}", text(&to))]).expect(0);
    assert_eq!(number(&to, "SELECT count(*) FROM v"), 0);
}

#[test]
fn undoing_takes_the_new_one_away_from_what_another_one_left() {
    for (journal, ending) in [("WAL", "-wal"), ("DELETE", "-journal")] {
        let (machine, _) = machine(journal);
        let folder = machine.place("elsewhere, too");
        fs::create_dir(&folder).unwrap();
        let to = folder.join("it's.db");
        fs::write(beside(&to, ending), "left").unwrap();
        let before = contents(&folder);
        let run = restore(&machine, &["--to", &format!("sqlite:{}", text(&to))]).expect(0);
        let run = run.prints("what was left of another one is now");
        assert_eq!(number(&to, "SELECT count(*) FROM credentials"), 5);
        undo(&run);
        assert_eq!(contents(&folder), before, "{journal}");
    }
}

#[test]
fn a_database_that_is_gone_comes_back_but_no_row_into_nothing() {
    let (machine, path) = machine("WAL");
    fs::remove_file(&path).unwrap();
    restore(&machine, &["--table", "credentials", "--apply"]).expect(1).says("there is no database");
    assert!(!path.exists());
    // A log whose database is gone would be taken for the new one's.
    fs::write(beside(&path, "-wal"), "a log").unwrap();
    let run = restore(&machine, &["--apply", "--json"]).expect(0);
    let first: serde_json::Value = serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["type"], &first["to"]), (&"restored-database".into(), &text(&path).into()));
    let aside = first["aside"][0]["to"].as_str().unwrap();
    assert_eq!(fs::read(aside).unwrap(), b"a log");
    assert_eq!(number(&path, "SELECT count(*) FROM credentials"), 5);
    // The folder has to be there.
    fs::remove_dir_all(machine.place("app")).unwrap();
    restore(&machine, &["--apply"]).expect(1).says("make the folder first");
    // A single database is a source of its own.
    let single = machine.place("one.db");
    make(&single, "CREATE TABLE t(a); INSERT INTO t VALUES(1)").close().unwrap();
    machine.run(["backup", &format!("one=sqlite:{}", text(&single))]).expect(0);
    fs::remove_file(&single).unwrap();
    machine.run(["restore", "latest:one", "--apply"]).expect(0);
    assert_eq!(number(&single, "SELECT a FROM t"), 1);
}

#[test]
fn a_database_that_somebody_uses_is_not_replaced() {
    for journal in ["WAL", "DELETE"] {
        for begin in ["", "BEGIN", "BEGIN IMMEDIATE"] {
            let (machine, path) = machine(journal);
            let before = fs::read(&path).unwrap();
            let live = make(&path, &format!("{begin}; SELECT count(*) FROM credentials"));
            let folder = names(path.parent().unwrap());
            let run = restore(&machine, &["--apply"]).expect(11).says("is in use");
            assert!(run.stderr.contains(&format!("process {} (", std::process::id())), "{run:?}");
            let json = restore(&machine, &["--apply", "--json"]).expect(11).json();
            assert_eq!((&json["code"], &json["exit_code"]), (&"busy".into(), &11.into()));
            assert_eq!(names(path.parent().unwrap()), folder, "{journal} {begin}");
            drop(live);
            assert!(fs::read(&path).unwrap() == before, "{journal} {begin}");
            restore(&machine, &["--apply"]).expect(0);
        }
    }
    // Rows wait for a writer, for a while.
    let (machine, path) = machine("WAL");
    let live = make(&path, "BEGIN IMMEDIATE; DELETE FROM credentials");
    restore(&machine, &["--table", "credentials", "--apply"]).expect(11).says("locked");
    live.execute_batch("COMMIT").unwrap();
    restore(&machine, &["--table", "credentials", "--apply"]).expect(0).prints("5 rows inserted");
}

/// Whose files nobody but their owner and root can see.
#[test]
fn a_lock_is_enough_to_know_that_a_database_is_used() {
    let (machine, path) = machine("WAL");
    machine.give_to_nobody();
    machine.run_as_nobody(["restore", "latest:app", "--apply", "-n"]).expect(0);
    let before = fs::read(&path).unwrap();
    let live = make(&path, "SELECT count(*) FROM credentials");
    // Reading the file now would drop the locks of this process.
    let folder = names(path.parent().unwrap());
    machine.run_as_nobody(["restore", "latest:app", "--apply"]).expect(11).says("keeps a lock on it");
    assert_eq!(names(path.parent().unwrap()), folder);
    drop(live);
    assert!(fs::read(&path).unwrap() == before);
    machine.run_as_nobody(["restore", "latest:app", "--apply"]).expect(0);
    assert_eq!(number(&path, "SELECT count(*) FROM credentials"), 5);
}

#[test]
fn a_live_database_may_be_broken_or_behind_a_link() {
    let machine = Machine::new();
    let (real, link) = (machine.place("data/real.db"), machine.place("link.db"));
    make(&real, CREDENTIALS).close().unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    machine.run(["backup", &format!("app=sqlite:{}", text(&link))]).expect(0);
    let broken = b"no database any more".repeat(100);
    fs::write(&real, &broken).unwrap();
    restore(&machine, &["--table", "credentials", "--apply"]).expect(2).says("not a database");
    restore(&machine, &["--apply"]).expect(0);
    assert_eq!(number(&link, "SELECT count(*) FROM credentials"), 5);
    let folder = names(&machine.place("data"));
    assert_eq!((folder.len(), link.read_link().unwrap()), (2, real), "{folder:?}");
    assert_eq!(fs::read(machine.place("data").join(&folder[1])).unwrap(), broken);
}

#[test]
fn another_database_is_set_aside_only_when_asked() {
    let (machine, path) = machine("WAL");
    let to = machine.place("to/b.db");
    make(&to, "CREATE TABLE mine(a); INSERT INTO mine VALUES(1)").close().unwrap();
    let target = format!("sqlite:{}", text(&to));
    let before = fs::read(&to).unwrap();
    restore(&machine, &["--to", &target]).expect(1).says("--overwrite");
    assert_eq!((fs::read(&to).unwrap() == before, names(&machine.place("to"))), (true, vec!["b.db".into()]));
    restore(&machine, &["--to", &target, "--overwrite"]).expect(0);
    assert_eq!(number(&to, "SELECT count(*) FROM credentials"), 5);
    let folder = names(&machine.place("to"));
    let aside = folder.iter().find(|name| name.starts_with("b.db.before-larder-")).unwrap();
    assert_eq!(number(&machine.place("to").join(aside), "SELECT a FROM mine"), 1);
    assert_eq!(fs::metadata(&to).unwrap().uid(), fs::metadata(&path).unwrap().uid());
    // What is no database takes no rows, and is none that could be replaced.
    let plain = machine.place("to/text");
    fs::write(&plain, "no database, but a text of more than a hundred bytes ".repeat(9)).unwrap();
    let target = format!("sqlite:{}", text(&plain));
    restore(&machine, &["--table", "log", "--to", &target]).expect(2).says("not a database");
    let inside = format!("sqlite:{}", text(&machine.repository.join("x.db")));
    restore(&machine, &["--to", &inside]).expect(2).says("lies in the repository");
    restore(&machine, &["--table", "log", "--to", &inside]).expect(2).says("lies in the repository");
    let dangling = machine.place("to/link");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    restore(&machine, &["--to", &format!("sqlite:{}", text(&dangling))]).expect(1);
    assert!(!machine.place("to/nowhere").exists());
}

/// A good copy never gives way to a bad one.
#[test]
fn a_damaged_image_is_not_put_into_use() {
    let (machine, path) = machine("DELETE");
    let db = make(&path, "CREATE TABLE t(a); INSERT INTO t VALUES(1); CREATE INDEX i ON t(a)");
    let root: i64 = db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 't'", [], |row| row.get(0)).unwrap();
    db.close().unwrap();
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    let at = (root as usize - 1) * 4096;
    bad[at..at + 4096].fill(0);
    fs::write(&path, &bad).unwrap();
    for check in ["full", "none"] {
        let code = if check == "none" { 0 } else { 3 };
        machine.run(["backup", text(&machine.place("app")), "--database-check", check]).expect(code);
        fs::write(&path, &good).unwrap();
        let run = restore(&machine, &["--apply"]).expect(1).says("is not put back into use").says("--to");
        assert_eq!(run.stderr.contains("it was damaged when it was saved"), check == "full", "{run:?}");
        assert!(fs::read(&path).unwrap() == good);
        assert_eq!(names(path.parent().unwrap()), ["a.db"]);
        machine.restore("latest:app", &machine.place(&format!("to {check}"))).expect(0);
        assert!(fs::read(machine.place(&format!("to {check}/data/a.db"))).unwrap() == bad);
        std::thread::sleep(std::time::Duration::from_millis(3100));
        fs::write(&path, &bad).unwrap();
    }
    // Saved as plain files, the log apart: neither alone is the database.
    let (machine, path) = self::machine("WAL");
    leave_behind(&path, "DELETE FROM credentials");
    machine.run(["backup", "--raw-databases", text(&machine.place("app"))]).expect(0);
    machine.run(["restore", "latest:app/data/a.db", "--apply"]).expect(1).says("a part of it is in data/a.db-wal");
}

#[test]
fn what_is_lost_in_the_repository_changes_nothing() {
    let machine = Machine::new();
    let path = machine.place("app/a.db");
    make(
        &path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9999)
         INSERT INTO t SELECT i, hex(randomblob(400)) FROM n",
    )
    .close()
    .unwrap();
    machine.backup(&machine.place("app")).expect(0);
    make(&path, "DELETE FROM t WHERE id > 5").close().unwrap();
    let packs = files_below(&machine.repository.join("packs"));
    let largest = packs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    fs::remove_file(largest).unwrap();
    let before = contents(&machine.place("app"));
    let out = machine.place("out");
    fs::create_dir(&out).unwrap();
    let new = format!("sqlite:{}", text(&out.join("new.db")));
    let rows = text(&out.join("rows")).to_owned();
    for more in [
        vec!["--apply"],
        vec!["--to", &new],
        vec!["--table", "t", "--apply", "--on-conflict", "replace"],
        vec!["--table", "t", "--to", &new],
        vec!["--table", "t", "--csv", &rows],
        vec!["--table", "t", "--jsonl", &rows],
        vec!["--table", "t", "--sql", &rows],
        vec!["--table", "t", "--csv", "-"],
    ] {
        restore(&machine, &more).expect(4);
        assert!(contents(&machine.place("app")) == before, "{more:?}");
        assert_eq!(names(&out), Vec::<String>::new(), "{more:?}");
    }
}

/// A log that is left beside another database is played into it by whoever opens that next.
#[test]
fn a_folder_that_is_overwritten_has_no_log_beside_a_database_that_it_does_not_belong_to() {
    for journal in ["WAL", "DELETE"] {
        let machine = Machine::new();
        let (app, live) = (machine.place("app"), machine.place("app/a.db"));
        fs::create_dir(&app).unwrap();
        fs::write(app.join("note"), "as it was").unwrap();
        let db = Connection::open(&live).unwrap();
        db.execute_batch(&format!("PRAGMA journal_mode = {journal}; CREATE TABLE t(a); INSERT INTO t VALUES('saved')"))
            .unwrap();
        machine.backup(&app).expect(0);
        fs::write(app.join("note"), "changed").unwrap();
        // Somebody uses it: it stays, and everything else is restored.
        let refused = machine.run(["restore", "latest:app", "--overwrite", "--to", text(&app)]).expect(1);
        assert!(refused.stderr.contains("a.db") && refused.stderr.contains("it is open in"), "{}", refused.stderr);
        assert_eq!(fs::read(app.join("note")).unwrap(), b"as it was");
        db.execute_batch(
            "PRAGMA cache_size = 5; BEGIN; INSERT INTO t SELECT hex(randomblob(5000)) FROM sqlite_schema; ",
        )
        .unwrap();
        db.execute_batch("INSERT INTO t SELECT hex(randomblob(50000)) FROM t; UPDATE t SET a = a || 'x'").unwrap();
        if journal == "WAL" {
            db.execute_batch("COMMIT").unwrap();
        }
        // It died: what it left is a copy of its files.
        let side = app.join(if journal == "WAL" { "a.db-wal" } else { "a.db-journal" });
        let left = [&live, &side].map(|path| fs::read(path).unwrap());
        drop(db);
        let _ = fs::remove_file(app.join("a.db-shm"));
        fs::write(&live, &left[0]).unwrap();
        fs::write(&side, &left[1]).unwrap();
        let run = machine.run(["restore", "latest:app", "--overwrite", "--to", text(&app)]).expect(0);
        assert!(run.stderr.contains("a.db: what was there is now called a.db.before-larder-"), "{}", run.stderr);
        assert!(!side.exists(), "{journal}");
        let db = Connection::open(&live).unwrap();
        let rows: String = db.query_row("SELECT group_concat(a) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, "saved", "{journal}");
        let ending = side.extension().unwrap().to_str().unwrap().strip_prefix("db").unwrap().to_owned();
        let aside = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().contains("before-larder");
        let aside: Vec<_> = files_below(&app).into_iter().filter(aside).collect();
        assert_eq!(aside.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>(), left, "{journal}{ending}");
    }
}
