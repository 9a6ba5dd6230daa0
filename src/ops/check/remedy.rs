//! What brings a repository back to health, for each thing that a check can find.
//!
//! `tests/damage` does what is said here, and checks again.

use std::collections::BTreeSet;

use crate::error::{Error, Kind};
use crate::id::ObjectId;
use crate::repo::{Folder, ObjectAt, without_damage_record};
use crate::storage::Key;

const NOTHING_LOST: &str = "nothing is lost: ";

/// Content that no good copy is left of.
pub(super) const CONTENT: &str = "back up again, which stores anew what the sources still have; what they have no more \
     comes back only from a second copy of the repository; `larder restore` gives back all else, and names what it cannot";

/// The same, where it is known which snapshots lose something, and for want of which of them a prune removes nothing.
pub(super) fn give_up(harmed: usize, is_cut: bool, stuck: &BTreeSet<ObjectId>) -> String {
    let cut = if is_cut { " (not all of it is named here; the snapshots are)" } else { "" };
    // So many at once may take a word more.
    let force = if harmed > 5 { " (--force where that is more than 30 % of a series)" } else { "" };
    let mut out = format!(
        "{CONTENT}{cut}; where that is all there will be, `larder forget` of all snapshots that lose something{force} ends it"
    );
    if !stuck.is_empty() {
        let ids: Vec<String> = stuck.iter().map(ObjectId::short).collect();
        let force = if ids.len() > 5 { "--force " } else { "" };
        out += &format!(
            "; until it is there again `larder prune` removes nothing: where it never will be, restore what is left of the \
             snapshots that need it, and give them up: larder forget {force}{}",
            ids.join(" ")
        );
    }
    out
}

/// A pack that is not what its name says, though all in it is.
pub(super) const OUTSIDE: &str = "nothing is lost, as every chunk in the pack is good: `larder prune` writes it anew, and \
     every check names it until then";

/// An object whose parity gives all of it back, but where it lies it cannot be written anew.
pub(super) fn mendable(object: &ObjectAt) -> String {
    let id = object.id.short();
    let anew = match object.folder {
        Folder::Packs => "`larder prune` writes it anew".to_owned(),
        Folder::Snapshots => format!("`larder forget {id}` and `larder undelete {id}` write it anew"),
        Folder::Notes => "every check names it".into(),
        folder => match small_object(folder, &object.id).strip_prefix(NOTHING_LOST) {
            Some(fix) => fix.to_owned(),
            None => "every check names it".into(),
        },
    };
    format!(
        "{NOTHING_LOST}`larder check --data all` makes it whole again, run by who may write there; where the file system \
         cannot exchange files: {anew}"
    )
}

/// An object that reads otherwise each time.
pub(super) const DISK: &str = "copy the repository to another disk while that is possible, and check it there";

/// An index object and a pack that contradict each other.
pub(super) const INDEX: &str = "nothing is lost: delete all that is in the folder index of the repository; the packs say \
     the same themselves, and the next backup writes the index anew";

/// A snapshot that is gone or cannot be read.
pub(super) fn snapshot(id: &ObjectId) -> String {
    let key = Folder::Snapshots.key(id);
    format!(
        "{} comes back only from a second copy of the repository, so back up again what the sources still have; \
         `larder forget {}` strikes it off, and until then every check will name it",
        key.as_str(),
        id.short()
    )
}

/// One that lies in the trash: two runs met when one of them forgot it, or the note of that is gone.
pub(super) fn trashed_snapshot(id: &ObjectId) -> String {
    let id = id.short();
    format!("nothing is lost: `larder undelete {id}` brings it back, and `larder forget {id}` then forgets it again")
}

/// An object other than a note, without which all goes on as before.
pub(super) fn small_object(folder: Folder, id: &ObjectId) -> String {
    let key = folder.key(id);
    let then = match folder {
        Folder::Index => "the packs say the same themselves, and the next backup writes the index anew",
        Folder::Sessions => "nothing needs it once that run has ended",
        Folder::Damage => return without_damage_record(id),
        _ => "nothing else needs it",
    };
    format!("{NOTHING_LOST}delete {} in the repository; {then}", key.as_str())
}

/// The end of a session.
pub(super) fn session_end(id: &ObjectId) -> String {
    let key = format!("{}.end", Folder::Sessions.key(id).as_str());
    format!(
        "put {key} back from a second copy of the repository; where there is none, delete {key} there: this check has \
         confirmed those snapshots of that run which are whole, or the next one does; but a snapshot or note of that run \
         that is gone nobody misses then, so look whether `larder snapshots` shows all that you know of"
    )
}

/// One of the two copies of what opens the repository.
pub(super) fn copy(key: &Key, is_bad: impl Fn(&str) -> bool) -> String {
    let key = key.as_str();
    let other = key.strip_suffix(".copy").map_or_else(|| format!("{key}.copy"), str::to_owned);
    if is_bad(&other) {
        return format!("put {key} or {other} back from a second copy of the repository; one of them is enough");
    }
    format!("nothing is lost: copy {other} to {key} in the repository")
}

/// Advice for damage helps against damage only: what is newer, or cannot be read just now, is to be kept.
pub(super) fn against(error: &Error, damaged: String) -> String {
    if matches!(error.kind(), Kind::Damage | Kind::Missing) { damaged } else { error.advice().to_owned() }
}
