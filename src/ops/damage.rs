//! Damage that is met by who looks for something else: mended, or else recorded, so that no backup counts on it, and every check
//! looks at it.

use std::collections::{BTreeMap, BTreeSet};

use super::notes;
use crate::crypto::Audience;
use crate::error::{Error, Result};
use crate::event::Job;
use crate::id::ObjectId;
use crate::record::{BadFrame, Damage};
use crate::repo::{Catalogue, Folder, Mended, ObjectAt, Repository, Session};

/// What became of an object that was damaged.
pub const MENDED: &str = "its parity gave everything back, and it is whole again; the disk may be failing";

/// The same where it is something else each time.
pub(super) const CHANGING: &str = "its parity gave everything back, but it reads otherwise now; the disk is failing";

/// The same where it could not be written.
pub(super) fn not_mended(error: &Error) -> String {
    format!("its parity gives everything back, but it could not be written anew: {error}")
}

/// Records the damage that was met since this was called last, and says whether anything of it was new. Whoever met it was
/// told, so a repository that cannot be written is worth a warning, and no more.
pub fn record_met(repository: &Repository, job: Job<'_>) -> bool {
    warn_of_mended(repository, job);
    let met = repository.take_met();
    if met.is_empty() {
        return false;
    }
    record(repository, met, job).unwrap_or_else(|e| {
        let but = "the damage is not recorded, so backups count on what is damaged until a check of all data finds it";
        job.warn(&format!("{but}: {e}"));
        false
    })
}

fn warn_of_mended(repository: &Repository, job: Job<'_>) {
    for (object, mended) in mend_met(repository) {
        match mended {
            Ok(Mended::Yes) => job.warn(&format!("{object} was damaged; {MENDED}")),
            Ok(Mended::No) => job.warn(&format!("{object} is damaged; {CHANGING}")),
            Ok(Mended::Whole | Mended::Gone) => {}
            Err(e) => job.warn(&format!("{object} is damaged; {}", not_mended(&e))),
        }
    }
}

/// Makes what was met whole again, durably, and tells what became of each.
pub(super) fn mend_met(repository: &Repository) -> Vec<(ObjectAt, Result<Mended>)> {
    let mend = |object: ObjectAt| {
        let mended = repository.mend(&object).and_then(|mended| Ok(repository.storage().barrier().map(|()| mended)?));
        (object, mended)
    };
    repository.take_mendable().into_iter().map(mend).collect()
}

fn record(repository: &Repository, met: BTreeSet<(ObjectId, Option<u32>)>, job: Job<'_>) -> Result<bool> {
    let news = unknown(met, &Catalogue::load(repository, job)?);
    if news.is_empty() {
        return Ok(false);
    }
    let session = notes::begin(repository)?;
    put(&session, news)?;
    repository.storage().barrier()?;
    session.end(Vec::new())?;
    Ok(true)
}

/// What of this no damage record names yet, with what lies in it.
pub(super) fn unknown(met: BTreeSet<(ObjectId, Option<u32>)>, catalogue: &Catalogue) -> Vec<BadFrame> {
    let is_known = |met: &(ObjectId, Option<u32>)| {
        catalogue.damage().iter().any(|bad| bad.pack == met.0 && (bad.frame.is_none() || bad.frame == met.1))
    };
    let mut news: BTreeMap<_, _> = met.into_iter().filter(|met| !is_known(met)).map(|met| (met, Vec::new())).collect();
    if !news.is_empty() {
        for (id, place) in catalogue.every_copy() {
            let chunks = news.get_mut(&(catalogue.pack(place.pack).id, Some(place.frame)));
            chunks.into_iter().for_each(|chunks| chunks.push(*id));
        }
    }
    news.into_iter().map(|((pack, frame), chunks)| BadFrame { pack, frame, chunks }).collect()
}

/// Puts a damage record; not durable before the next barrier.
pub(super) fn put(session: &Session<'_>, frames: Vec<BadFrame>) -> Result<()> {
    let damage = Damage { frames, ..Damage::default() };
    session.put(Folder::Damage, &[(Audience::Index, &damage.encode())]).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ops::check::{Request, check};
    use crate::ops::restore::{Part, Pick, Report, Target, restore};
    use crate::ops::testing::{Store, noise};
    use crate::target::files::Existing;

    const STRUCTURE: Request = Request { data: None, time_max: None, bytes_max: None };

    fn restored(store: &Store, catalogue: &Catalogue) -> (tempfile::TempDir, Report) {
        let to = tempfile::tempdir().unwrap();
        let target = Target { path: &to.path().join("to"), existing: Existing::Refuse, repository: None };
        let parts = [Part { source: 0, into: Vec::new(), pick: Pick::At(Vec::new()) }];
        let report = restore(&store.repository, catalogue, &store.newest(), &parts, target, store.job()).unwrap();
        (to, report)
    }

    fn catalogue(store: &Store) -> Catalogue {
        Catalogue::load(&store.repository, store.job()).unwrap()
    }

    fn records(store: &Store) -> usize {
        store.repository.list(Folder::Damage).unwrap().len()
    }

    #[test]
    fn what_a_restore_met_the_next_check_looks_at_and_the_next_backup_stores_anew() {
        let store = Store::new();
        store.file("large", &noise(900_000));
        store.file("small", b"good");
        store.backup();
        store.lose_data();
        let healthy = check(&store.repository, &STRUCTURE, store.job()).unwrap();
        assert!(healthy.is_healthy() && records(&store) == 0, "nobody has read it");
        let (_to, report) = restored(&store, &catalogue(&store));
        assert_eq!((report.lost.len(), records(&store)), (1, 1));
        let known = catalogue(&store).damage().to_vec();
        assert!(known.len() == 1 && known[0].frame.is_some() && !known[0].chunks.is_empty(), "{known:?}");
        restored(&store, &catalogue(&store));
        assert_eq!(records(&store), 1, "it is known");
        let checked = check(&store.repository, &STRUCTURE, store.job()).unwrap();
        assert!(checked.packs_read == 1 && checked.found[0].affects[0].path == b"large", "{checked:?}");
        store.backup();
        let (to, report) = restored(&store, &catalogue(&store));
        assert_eq!(report.lost, []);
        assert!(fs::read(to.path().join("to/large")).unwrap() == noise(900_000));
    }

    #[test]
    fn what_is_good_after_all_comes_off_the_record() {
        let store = Store::new();
        store.file("large", &noise(900_000));
        store.backup();
        let catalogue = catalogue(&store);
        let place = *catalogue.chunks().max_by_key(|(_, place)| place.raw_len).unwrap().1;
        store.flip(&catalogue, place);
        assert_eq!((restored(&store, &catalogue).1.lost.len(), records(&store)), (1, 1));
        store.flip(&catalogue, place);
        assert!(check(&store.repository, &STRUCTURE, store.job()).unwrap().is_healthy());
        assert_eq!(records(&store), 0);
    }

    #[test]
    fn a_check_of_structure_records_the_nodes_that_it_cannot_read() {
        let store = Store::new();
        store.many_files();
        let snapshot = store.backup();
        store.lose_leaves(&snapshot);
        assert!(!check(&store.repository, &STRUCTURE, store.job()).unwrap().is_healthy());
        assert_eq!(records(&store), 1);
        let known = check(&store.repository, &STRUCTURE, store.job()).unwrap().found;
        assert!(known.len() == 1 && known[0].object.starts_with("pack "), "{known:?}");
        store.backup();
        assert_eq!(restored(&store, &catalogue(&store)).1.lost, []);
    }

    #[test]
    fn a_backup_that_meets_damage_begins_anew_and_counts_on_none_of_it() {
        let store = Store::new();
        let mut pages = [b"SQLite format 3\0", &noise(900_000)[16..]].concat();
        store.file("pages", &pages);
        store.backup();
        store.lose_data();
        // What has changed is stored as a difference to what is damaged; and all else is there already, as it seems.
        (0..10).for_each(|n| pages[n * 90_000 + 20_000] ^= 1);
        store.file("pages", &pages);
        store.backup();
        assert!(store.warnings().iter().any(|text| text.contains("begins anew")), "{:?}", store.warnings());
        assert_eq!((records(&store), store.repository.snapshots().unwrap().snapshots.len()), (1, 2));
        let (to, report) = restored(&store, &catalogue(&store));
        assert_eq!(report.lost, []);
        assert!(fs::read(to.path().join("to/pages")).unwrap() == pages);
    }
}
