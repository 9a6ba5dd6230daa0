//! TokenPulse: a proxy with its credentials in one SQLite database, in a folder with its compose file and its secrets.

use std::fs;
use std::path::PathBuf;

use larder::pack::spoil_parity;
use rusqlite::Connection;

use super::{number, string, text};
use crate::support::files_below;
use crate::support::past::Past;
use crate::support::plant::{Item, plant, set_mode};
use crate::support::program::Machine;
use crate::support::tree::{assert_same, look};

const SECRET: &str = "rt-9f1c77be-refresh-token-that-must-not-leak";
const DATABASE: &str = "latest:tokenpulse/data/credentials.db";

/// The service's folder, and the connection that it keeps open.
fn service(machine: &Machine) -> (PathBuf, Connection) {
    let folder = machine.place("tokenpulse");
    plant(
        &folder,
        &[
            (b"docker-compose.yml", Item::File(b"services: {tokenpulse: {image: tokenpulse}}\n".to_vec())),
            (b".env", Item::File(b"ADMIN_PASSWORD=x\n".to_vec())),
            (b"data/note", Item::File(b"beside the database".to_vec())),
        ],
    );
    set_mode(&folder.join(".env"), 0o600);
    let db = Connection::open(folder.join("data/credentials.db")).unwrap();
    db.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE credentials(id INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, account TEXT NOT NULL,
                                  refresh_token TEXT, expires INTEGER, UNIQUE(provider, account));
         CREATE INDEX by_expiry ON credentials(expires);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
         INSERT INTO credentials(provider, account, refresh_token, expires)
             SELECT CASE i % 2 WHEN 0 THEN 'claude' ELSE 'openai' END, 'user' || i, '{SECRET}-' || i, 1763000000 + i FROM n;"
    ))
    .unwrap();
    (folder, db)
}

fn save(machine: &Machine) {
    machine.run(["backup", text(&machine.place("tokenpulse"))]).expect(0);
}

/// TP4: the old one is set aside, and can be had back.
#[test]
fn the_database_comes_back_where_it_was_and_the_old_one_is_kept() {
    let machine = Machine::new();
    let (folder, db) = service(&machine);
    save(&machine);
    db.execute_batch("DELETE FROM credentials WHERE id > 3").unwrap();
    // Stopped in the middle of its work: the log has what the file has not.
    let live = folder.join("data/credentials.db");
    machine.run(["restore", DATABASE, "--apply"]).expect(11).says("is in use");
    assert_eq!(number(&db, "SELECT count(*) FROM credentials"), 3, "what somebody uses is not touched");
    let log = fs::read(folder.join("data/credentials.db-wal")).unwrap();
    let file = fs::read(&live).unwrap();
    db.close().unwrap();
    fs::write(&live, file).unwrap();
    fs::write(folder.join("data/credentials.db-wal"), log).unwrap();
    machine.run(["restore", DATABASE, "--apply"]).expect(0);
    assert!(!folder.join("data/credentials.db-wal").exists() && !folder.join("data/credentials.db-shm").exists());
    let db = Connection::open(&live).unwrap();
    assert_eq!(number(&db, "SELECT count(*) FROM credentials"), 50);
    assert_eq!(string(&db, "PRAGMA integrity_check"), "ok");
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("credentials.db.before-larder-") && !name.ends_with("-wal")
    };
    let aside = files_below(&folder).into_iter().find(is_aside).unwrap();
    let old = Connection::open(aside).unwrap();
    assert_eq!(number(&old, "SELECT count(*) FROM credentials"), 3, "with its log");
}

/// TP5: one provider's rows, into the database that is in use.
#[test]
fn the_rows_of_one_provider_come_back_and_no_others_change() {
    let machine = Machine::new();
    let (_, db) = service(&machine);
    save(&machine);
    db.execute_batch(
        "UPDATE credentials SET refresh_token = 'lost' WHERE provider = 'claude';
         DELETE FROM credentials WHERE provider = 'claude' AND id > 40;
         UPDATE credentials SET refresh_token = 'newer' WHERE provider = 'openai';
         INSERT INTO credentials(provider, account, refresh_token) VALUES('openai', 'user99', 'newest');",
    )
    .unwrap();
    let rows = ["--table", "credentials", "--where", "provider='claude'"];
    let restore = |more: &[&str]| machine.run(["restore", DATABASE].iter().chain(&rows).chain(more).copied());
    restore(&[]).expect(0);
    assert_eq!(number(&db, "SELECT count(*) FROM credentials WHERE refresh_token = 'lost'"), 20, "that was the plan");
    restore(&["--apply", "--on-conflict", "fail"]).expect(1);
    assert_eq!(number(&db, "SELECT count(*) FROM credentials WHERE refresh_token = 'lost'"), 20, "all or nothing");
    restore(&["--apply", "--on-conflict", "replace"]).expect(0);
    let of_claude =
        format!("SELECT count(*) FROM credentials WHERE provider = 'claude' AND refresh_token = '{SECRET}-' || id");
    assert_eq!(number(&db, &of_claude), 25);
    assert_eq!(number(&db, "SELECT count(*) FROM credentials WHERE refresh_token = 'newer'"), 25);
    assert_eq!(number(&db, "SELECT count(*) FROM credentials WHERE refresh_token = 'newest'"), 1);
    let csv = restore(&["--csv", "-"]).expect(0).stdout;
    assert!(csv.starts_with("id,provider,account,refresh_token,expires\r\n2,claude,user2,"), "{csv}");
    assert_eq!(csv.lines().count(), 26);
    let script = restore(&["--sql", "-"]).expect(0).stdout;
    let other = Connection::open_in_memory().unwrap();
    other.execute_batch(&script).unwrap();
    assert_eq!(number(&other, &of_claude), 25);
}

/// TP6: proof, not hope.
#[test]
fn a_drill_says_what_it_proved_and_fails_on_one_flipped_byte() {
    let machine = Machine::new();
    let _service = service(&machine);
    save(&machine);
    machine.run(["drill", "latest:tokenpulse"]).expect(0).prints("integrity ok").prints("credentials 50 rows");
    machine.run(["snapshots"]).expect(0).prints("proven");
    let mut failed = 0;
    for pack in files_below(&machine.repository.join("packs")) {
        let good = fs::read(&pack).unwrap();
        set_mode(&pack, 0o600);
        // The end of a small pack is parity and padding, of which nothing is restored.
        for place in [100, 1000, good.len() / 4] {
            let mut bad = good.clone();
            spoil_parity(&mut bad);
            bad[place] ^= 1;
            fs::write(&pack, bad).unwrap();
            let run = machine.run(["drill", "latest:tokenpulse"]);
            if run.code != Some(0) {
                let run = run.expect(4);
                assert!(run.stderr.contains("tokenpulse"), "{}", run.stderr);
                machine.run(["snapshots"]).expect(0).prints("drill failed");
                failed += 1;
            }
        }
        fs::write(&pack, good).unwrap();
    }
    assert!(failed >= 2, "{failed}");
    machine.run(["drill", "latest:tokenpulse"]).expect(0);
    machine.run(["snapshots"]).expect(0).prints("proven");
}

/// TP8: another machine has the folder as it was, the secrets' mode included.
#[test]
fn the_service_moves_house() {
    let machine = Machine::new();
    let (folder, db) = service(&machine);
    db.close().unwrap();
    save(&machine);
    let to = machine.second().place("newdir");
    machine.restore("latest:tokenpulse", &to).expect(0);
    assert_same(&look(&folder), &look(&to), "on the new machine");
    assert_eq!(
        number(&Connection::open(to.join("data/credentials.db")).unwrap(), "SELECT count(*) FROM credentials"),
        50
    );
}

/// TP9: nothing that is at rest, or was said, has a secret in it.
#[test]
fn a_token_is_in_no_file_and_in_no_message() {
    let machine = Machine::new();
    let _service = service(&machine);
    let mut said = String::new();
    for args in [
        &["backup", "-v", text(&machine.place("tokenpulse"))][..],
        &["check", "--data", "all"],
        &["drill", "latest"],
        &["snapshots", "--json"],
        &["show", "latest", "--json"],
        &["tables", DATABASE],
    ] {
        let run = machine.run(args).expect(0);
        said += &(run.stdout + &run.stderr);
    }
    assert!(!said.contains(SECRET), "{said}");
    let is_in = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
    let places = [&machine.repository, &machine.home];
    let files: Vec<_> = places.into_iter().flat_map(|place| files_below(place)).collect();
    assert!(files.len() > 10);
    for file in files {
        assert!(!is_in(&fs::read(&file).unwrap()), "{}", file.display());
    }
}

/// TP3: a week of nights stays, and never nothing: the script that this replaces emptied the folder once backups stopped.
#[test]
fn a_week_of_nights_stays_and_the_last_one_whatever_happens() {
    let machine = Machine::new();
    let _service = service(&machine);
    machine.run(["backup", text(&machine.place("tokenpulse"))]).expect(0);
    let past = Past::of(&machine);
    // An hour less, since a night that is just seven days old is older when the command runs.
    let nights: Vec<_> = (1..=9).map(|days| past.take("tokenpulse", (days * 24 - 1) * 60, |_| ())).collect();
    let plan = machine.run(["forget", "--dry-run", "--keep-days", "7", "--json"]).expect(0).json();
    let goes: Vec<_> = plan["snapshots"].as_array().unwrap().iter().filter(|one| one["keep"] == false).collect();
    let ids: Vec<_> = goes.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [nights[8].to_hex(), nights[7].to_hex()], "more than 7 days, and only those");
    let reason = goes[0]["reasons"].as_array().unwrap().iter().find(|reason| reason["rule"] == "within").unwrap();
    assert_eq!(reason["amount"], "7d");
    machine.run(["forget", "-n", "--keep-days", "7"]).expect(0).prints("older than 7d").prints("within 7d");
    machine.run(["forget", "--keep-days", "7"]).expect(0).prints("forgot 2 snapshots");
    // Backups stop, and the days go by: all are older than a week.
    let newest = machine.run(["snapshots", "--last", "1", "--json"]).expect(0).json();
    let newest = newest["snapshots"][0]["id"].as_str().unwrap().to_owned();
    let mut later = machine.command(["forget", "--keep-within", "1h", "--force"]);
    later.env("TZ", "Asia/Shanghai");
    crate::support::program::run(later).expect(0).prints("7 went, 1 stay");
    let left = machine.run(["snapshots", "--json"]).expect(0).json();
    assert!(left["snapshots"].as_array().unwrap().len() == 1 && left["snapshots"][0]["id"] == newest);
    let old = past.take("tokenpulse", 40 * 24 * 60, |_| ());
    let newer = past.take("tokenpulse", 39 * 24 * 60, |_| ());
    fs::remove_file(machine.repository.join(format!("snapshots/{newest}"))).unwrap();
    machine.run(["forget", "--keep-days", "7"]).expect(0).prints(&old.short()).prints("1 stay");
    machine.run(["show", &newer.short()]).expect(0);
}

/// TP7: a database that was damaged when it was saved pushes no good copy out.
#[test]
fn a_damaged_source_pushes_out_no_good_copy() {
    let machine = Machine::new();
    let (folder, db) = service(&machine);
    machine.run(["backup", text(&folder)]).expect(0);
    let good = Past::of(&machine).nights("tokenpulse", [1, 2]);
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE").unwrap();
    drop(db);
    let path = folder.join("data/credentials.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[2 * 4096..3 * 4096].fill(0);
    fs::write(&path, bytes).unwrap();
    machine.run(["backup", text(&folder)]).expect(3).says("damaged where it comes from");
    let run = machine.run(["forget", "--keep-daily", "2", "--force"]).expect(0);
    assert!(run.stdout.contains(&good[1].short()) && !run.stdout.contains(&good[0].short()), "{}", run.stdout);
    machine.run(["snapshots"]).expect(0).prints("partial").prints(&good[0].short());
}
