//! What parity gives back.

use super::*;

/// What one bad sector takes comes back from the pack itself, for whoever reads, and whoever checks has it written anew.
#[test]
fn a_bad_sector_of_a_pack_costs_nothing() {
    let scene = Scene::with_a_long_pack();
    let mut sectors = 0;
    for (key, bytes) in scene.objects().iter().filter(|(key, _)| folder(key) == "packs") {
        // A sector is too much of a short one.
        let sectors_of = if bytes.len() < 64 << 10 { 0 } else { bytes.len().div_ceil(4096) };
        for sector in 0..sectors_of {
            let about = format!("sector {sector} of {key}");
            let mut bad = bytes.clone();
            let end = bytes.len().min(sector * 4096 + 4096);
            bad[sector * 4096..end].fill(0);
            let store = scene.with(&[(key, Some(&bad))]);
            let repository = engine::open(Arc::new(store.clone())).unwrap();
            let report = engine::check_all(&repository);
            assert!(report.is_healthy() && report.mended.len() == 1, "{about}: {report:?}");
            assert!(store.get(key, u64::MAX).unwrap() == *bytes, "{about}");
            assert!(engine::check_all(&repository).mended.is_empty() && engine::count(&store, Folder::Damage) == 0);
            sectors += 1;
        }
    }
    assert!(sectors > 20, "{sectors}");
}

/// Neither for those who may only read, nor where the disk says so.
#[test]
fn a_sector_that_cannot_be_read_is_read_around() {
    let scene = Scene::with_a_long_pack();
    for (folder, at) in [("packs/", 70_000), ("packs/", 100_000), ("packs/", 299_999), ("snapshots/", 0)] {
        let store = FaultStorage::new(Arc::new(scene.store.clone()), 1, Fault::Unreadable(folder, at));
        let repository = engine::open(Arc::new(store)).unwrap();
        for (id, tree) in &scene.snapshots {
            engine::assert_restores(&repository, id, tree, &format!("byte {at} of {folder}"));
        }
    }
}

/// Whoever meets a bad pack mends it, and says so; a check of structure meets what trees and tables are in.
#[test]
fn who_meets_a_bad_pack_mends_it() {
    let scene = Scene::new(1);
    let (mut restored, mut checked) = (0, 0);
    let objects = scene.objects();
    let indexes: Vec<_> = objects.keys().filter(|key| folder(key) == "index").collect();
    for (key, bytes) in objects.iter().filter(|(key, _)| folder(key) == "packs") {
        let end = bytes.len();
        let flipped = |at: usize| (format!("byte {at}"), [&bytes[..at], &[bytes[at] ^ 1], &bytes[at + 1..]].concat());
        let mut forms: Vec<_> = [20, 300, crate::prune::table(bytes).start, end - 2, end - 14].map(flipped).into();
        forms.push(("one more".into(), [&bytes[..], b"x"].concat()));
        forms.push(("one less".into(), bytes[..end - 1].to_vec()));
        for (form, bad) in forms {
            let is_mended = |store: &MemoryStorage| usize::from(store.get(key, u64::MAX).unwrap() == *bytes);
            let store = scene.with(&[(key, Some(&bad))]);
            assert_eq!(scene.check(&store, "").exact, 2, "{key}, {form}");
            restored += is_mended(&store);
            // Without an index everything is read from its own table.
            for without_index in [false, true] {
                let store = scene.with(&[(key, Some(&bad))]);
                indexes.iter().filter(|_| without_index).for_each(|key| store.delete(key).unwrap());
                assert!(!without_index || scene.check(&store, "").exact == 2, "{key}, {form}, without an index");
                let store = scene.with(&[(key, Some(&bad))]);
                let report = engine::check(&engine::open(Arc::new(store.clone())).unwrap());
                assert!(report.is_healthy() && report.mended.len() == is_mended(&store), "{key}, {form}: {report:?}");
                checked += is_mended(&store);
            }
        }
    }
    assert!(restored > 5 && checked > 10, "{restored} {checked}");
}

/// Small objects, too, be it a bit or the sector that they begin in.
#[test]
fn who_meets_a_bad_small_object_mends_it() {
    let scene = Scene::with_records();
    let mut mended = BTreeSet::new();
    for (key, bytes) in scene.objects().iter().filter(|(key, _)| has_parity(key) && folder(key) != "packs") {
        let (mut flipped, mut sector) = (bytes.clone(), bytes.clone());
        flipped[bytes.len() / 3] ^= 4;
        sector[..SECTOR_BYTES].fill(0);
        for bad in [flipped, sector] {
            let store = scene.with(&[(key, Some(&bad))]);
            assert_eq!(scene.check(&store, "").exact, 2, "{key}");
            let repository = engine::open(Arc::new(scene.with(&[(key, Some(&bad))]))).unwrap();
            let report = engine::check(&repository);
            let object = (folder(key), 1, true);
            let found = report.mended.first().map_or("", |(object, _)| object.folder.name());
            assert_eq!((found, report.mended.len(), report.is_healthy()), object, "{report:?}");
            // A damage record goes, since the pack is well.
            let is_it = repository.storage().get(key, u64::MAX).is_ok_and(|now| now == *bytes);
            assert!(is_it != (folder(key) == "damage"), "{key}");
        }
        mended.insert(folder(key).to_owned());
    }
    assert_eq!(mended.iter().collect::<Vec<_>>(), ["damage", "index", "notes", "snapshots"]);
}

#[test]
fn a_small_object_that_cannot_be_written_anew_is_told_with_what_helps() {
    let scene = Scene::new(1);
    let mut told = 0;
    for (key, bytes) in scene.objects().iter().filter(|(key, _)| has_parity(key) && folder(key) != "packs") {
        let mut bad = bytes.clone();
        bad[200] ^= 1;
        let storage = FaultStorage::new(Arc::new(scene.with(&[(key, Some(&bad))])), 1, Fault::Unmendable);
        let repository = engine::open(Arc::new(storage)).unwrap();
        let report = engine::check(&repository);
        let fix = if folder(key) == "index" { format!("delete {key}") } else { "`larder undelete ".to_owned() };
        assert!(report.mended.is_empty() && report.found.len() == 1, "{report:?}");
        assert!(report.found[0].fix.starts_with("nothing is lost") && report.found[0].fix.contains(&fix), "{report:?}");
        told += 1;
    }
    assert!(told >= 3, "{told}");
}

#[test]
fn a_snapshot_in_the_trash_mends_itself_when_it_is_put_back() {
    let scene = Scene::new(1);
    let repository = engine::open(Arc::new(scene.store.clone())).unwrap();
    let (id, tree) = &scene.snapshots[0];
    let key = Folder::Snapshots.key(id);
    let bytes = scene.store.get(&key, u64::MAX).unwrap();
    repository.trash_snapshot(id).unwrap();
    let mut bad = bytes.clone();
    bad[300] ^= 0x20;
    let in_trash = key.in_trash().unwrap();
    scene.store.delete(&in_trash).unwrap();
    scene.store.put(&in_trash, &bad).unwrap();
    assert_eq!(repository.trashed_snapshots().unwrap().snapshots.len(), 1);
    let met = repository.take_mendable();
    assert!(met.len() == 1 && met.iter().all(|object| object.key == in_trash), "{met:?}");
    repository.put_snapshot_back(id).unwrap();
    assert!(scene.store.get(&key, u64::MAX).unwrap() == bytes);
    engine::assert_restores(&repository, id, tree, "it was forgotten");
}

/// What its name says is what it was.
#[test]
fn a_pack_of_another_repository_is_not_mended() {
    let (scene, other) = (Scene::new(1), Scene::new(1000));
    let (key, bytes) = other.objects().into_iter().find(|(key, _)| folder(key) == "packs").unwrap();
    let repository = engine::open(Arc::new(scene.with(&[(&key, Some(&bytes))]))).unwrap();
    for report in [engine::check_all(&repository), engine::check(&repository)] {
        assert!(report.mended.is_empty() && report.packs_spare == 1, "{report:?}");
    }
}

#[test]
fn a_dry_run_mends_nothing() {
    let scene = Scene::new(1);
    for (key, bytes) in scene.objects().iter().filter(|(key, _)| folder(key) == "packs") {
        let mut bad = bytes.clone();
        bad[300] ^= 1;
        let store = scene.with(&[(key, Some(&bad))]);
        let dry: Arc<dyn Storage> = Arc::new(DryRun::new(Arc::new(store.clone())));
        engine::backup(&engine::open(dry).unwrap(), &scene.source).unwrap();
        assert!(store.get(key, u64::MAX).unwrap() == bad, "{key}");
    }
}
