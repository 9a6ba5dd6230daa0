//! Which snapshots there are, and which of them count.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::list_cache::{ListCache, Said};
use super::{Folder, Repository, layout, malformed};
use crate::crypto::Audience;
use crate::entry::Time;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, SessionId};
use crate::record::{
    Body, Condition, Drill, Note, Remark, SessionEnd, SessionRecord, Snapshot, Standing, Summary, strip_check,
};
use crate::seal::ObjectKind;
use crate::storage::{Key, Listed};
use crate::tree::is_below;
use crate::wire::{self, Reader, put_prefixed};

/// Lists keep shorter bodies, which are all but those of partial snapshots and of very many sources. Bytes.
const LISTED_BODY_BYTES_MAX: usize = 4 << 10;

/// A snapshot in a list.
#[derive(Clone, Debug)]
pub struct SnapshotInfo {
    /// Its name.
    pub id: ObjectId,
    /// The run that made it.
    pub session: SessionId,
    /// What its list section says.
    pub summary: Summary,
    /// Its body, if that is short and good; [`Repository::snapshot_of`] has it anyhow.
    body: Option<Body>,
    /// Whether its session's end, or a check, says that it is complete.
    pub confirmed: bool,
    /// Restores of it, or of parts of it, for real; oldest first.
    pub drills: Vec<Drill>,
    /// The last that a check found of it, if one ever told.
    pub condition: Option<Condition>,
    /// What was said about it: pin, tags and note as they are now.
    pub standing: Standing,
}

/// What drills say of a snapshot, and checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not all of it was drilled.
    None,
    /// All of it was restored, and was as it must be. When that was, of the source that was drilled longest ago.
    Proven(Time),
    /// The last drill of some part of it, which ended then, failed.
    Failed(Time),
    /// A check found then that something of it cannot be had. Since then none has found it whole, and not all of it was
    /// restored.
    Damaged(Time),
}

impl SnapshotInfo {
    /// What the drills say. One of a part proves nothing of the whole; it takes back a failure of no more than that
    /// part, but not what is proven. What a check found counts until all was drilled since.
    pub fn proof(&self) -> Proof {
        let (mut oldest, mut failed) = (None::<Time>, None::<Time>);
        let mut all_proven = !self.summary.sources.is_empty();
        for source in &self.summary.sources {
            let (mut proven, mut failures) = (None, Vec::<(&[u8], Time)>::new());
            for drill in
                self.drills.iter().filter(|drill| drill.source.as_ref().is_none_or(|name| *name == source.name))
            {
                if drill.passed() {
                    failures.retain(|(path, _)| !is_below(path, &drill.path));
                    proven = if drill.is_of_whole(&source.name) { Some(drill.time) } else { proven };
                } else {
                    failures.push((&drill.path, drill.time));
                    proven = None;
                }
            }
            failed = failed.max(failures.iter().map(|(_, time)| *time).max());
            all_proven &= proven.is_some();
            oldest = match (oldest, proven) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let oldest = oldest.filter(|_| all_proven);
        let damaged = self.condition.as_ref().filter(|condition| condition.is_damaged).map(|condition| condition.time);
        if let Some(time) = damaged.filter(|time| oldest.is_none_or(|oldest| oldest <= *time)) {
            return Proof::Damaged(time);
        }
        match (failed, oldest) {
            (Some(time), _) => Proof::Failed(time),
            (None, Some(time)) => Proof::Proven(time),
            _ => Proof::None,
        }
    }
}

/// All snapshots, oldest first, and those that cannot be read.
#[derive(Debug, Default)]
pub struct Listing {
    /// By time, then by name.
    pub snapshots: Vec<SnapshotInfo>,
    /// Snapshots whose summary cannot be read.
    pub damaged: Vec<(ObjectId, Error)>,
    /// Snapshots that are not there, though the run that made them ended well and nobody forgot them.
    pub gone: Vec<ObjectId>,
    /// Notes that cannot be read, or are not there though the run that wrote them ended well. A pin may be in one of them.
    pub lost_notes: Vec<(ObjectId, Error)>,
    /// Sessions whose ends cannot be read. What they name and is gone, nobody misses.
    pub lost_ends: Vec<(ObjectId, Error)>,
}

impl Listing {
    /// What follows from what the objects say.
    pub(super) fn of(said: Vec<Said<'_>>) -> Self {
        let mut about = About::of(&said);
        let (lost_notes, lost_ends) = (std::mem::take(&mut about.lost_notes), std::mem::take(&mut about.lost_ends));
        let mut new = Self { lost_notes, lost_ends, ..Self::default() };
        for (listed, said) in said {
            let Some(Part::Snapshot(id)) = Part::of(&listed.key) else { continue };
            let place = || format!("snapshot {}", id.short());
            match said.and_then(|said| take_snapshot(&said).map_err(|e| malformed(&place(), &e))) {
                Ok((session, summary, body)) => {
                    let confirmed = [Some(session), None].iter().any(|by| about.confirmed.contains(&(*by, id)));
                    let mut drills = about.drills.remove(&id).unwrap_or_default();
                    drills.sort_by_key(|drill| (drill.time, drill.encode()));
                    let condition = about.conditions.remove(&id);
                    let standing = about.standing(&id, &summary);
                    let info = SnapshotInfo { id, session, summary, body, confirmed, drills, condition, standing };
                    new.snapshots.push(info);
                }
                Err(e) => new.damaged.push((id, e)),
            }
        }
        new.snapshots.sort_by_key(|info| (info.summary.time, info.id));
        let damaged = new.damaged.iter().filter(|(_, error)| error.kind() != Kind::Missing).map(|(id, _)| *id);
        let there: HashSet<ObjectId> = new.snapshots.iter().map(|info| info.id).chain(damaged).collect();
        let ended = about.confirmed.iter().filter(|(session, id)| session.is_some() && !there.contains(id));
        let ended: Vec<ObjectId> = ended.map(|(_, id)| *id).collect();
        new.gone = ended.into_iter().filter(|id| !about.standing(id, &Summary::default()).is_forgotten).collect();
        new.gone.sort();
        new
    }

    /// The newest that counts, in the series of this name.
    pub fn newest_of(&self, series: &[u8]) -> Option<&SnapshotInfo> {
        let in_series = |info: &&SnapshotInfo| info.summary.sources.iter().any(|source| source.name == series);
        self.snapshots.iter().rev().filter(|info| info.confirmed).find(in_series)
    }
}

/// What ends and notes say about snapshots.
#[derive(Default)]
struct About {
    /// Who says so: the session whose end it is, or a note. An end speaks only for its own session's snapshots, so that
    /// one put in the place of another confirms nothing. One that a prune removed meanwhile, or that is damaged, confirms
    /// nothing either; `check` reports damage.
    confirmed: HashSet<(Option<SessionId>, ObjectId)>,
    drills: HashMap<ObjectId, Vec<Drill>>,
    remarks: HashMap<ObjectId, Vec<Remark>>,
    conditions: HashMap<ObjectId, Condition>,
    lost_notes: Vec<(ObjectId, Error)>,
    lost_ends: Vec<(ObjectId, Error)>,
}

impl About {
    fn of(said: &[Said<'_>]) -> Self {
        let mut new = Self::default();
        let (mut named, mut there) = (HashMap::new(), HashSet::new());
        for (listed, said) in said {
            match (Part::of(&listed.key), said) {
                (Some(Part::End(run)), Ok(said)) => {
                    let Ok((session, end)) = take_end(said) else { continue };
                    new.confirmed.extend(end.snapshots.into_iter().map(|id| (Some(session), id)));
                    named.extend(end.notes.into_iter().map(|id| (id, run)));
                }
                (Some(Part::End(run)), Err(e)) if e.kind() == Kind::Damage => {
                    let look = "run `larder check`, which says what to do with it";
                    new.lost_ends.push((run, e.clone().fix(look)));
                }
                (Some(Part::End(run)), Err(e)) if e.kind() != Kind::Missing => new.lost_ends.push((run, e.clone())),
                (Some(Part::Note(id)), said) => {
                    there.insert(id);
                    // Another program may have kept what this one does not understand.
                    let parsed = |said: &Cow<'_, [u8]>| Note::parse(said).map_err(|e| malformed(&label(&id), &e));
                    match said.as_ref().map_err(Error::clone).and_then(parsed) {
                        Ok(note) => new.note(note),
                        Err(e) => new.lost_notes.push((id, e)),
                    }
                }
                _ => {}
            }
        }
        for (id, error) in new.lost_notes.iter_mut().filter(|(_, error)| error.kind() == Kind::Damage) {
            *error = error.clone().fix(without_note(id, true, named.get(id)));
        }
        for (id, run) in named.into_iter().filter(|(id, _)| !there.contains(id)) {
            let gone =
                Error::new(Kind::Damage, format!("{} is gone", label(&id))).why("the run that wrote it ended well");
            new.lost_notes.push((id, gone.fix(without_note(&id, false, Some(&run)))));
        }
        new.lost_notes.sort_by_key(|(id, _)| *id);
        new
    }

    fn note(&mut self, note: Note) {
        self.confirmed.extend(note.confirmed.into_iter().map(|id| (None, id)));
        note.drills.into_iter().for_each(|drill| self.drills.entry(drill.snapshot).or_default().push(drill));
        note.remarks.into_iter().for_each(|remark| self.remarks.entry(remark.snapshot).or_default().push(remark));
        for condition in note.conditions {
            let last = self.conditions.entry(condition.snapshot).or_insert_with(|| condition.clone());
            if condition.is_after(last) {
                *last = condition;
            }
        }
    }

    fn standing(&mut self, id: &ObjectId, summary: &Summary) -> Standing {
        Standing::of(&summary.tags, &summary.note, self.remarks.remove(id).unwrap_or_default())
    }
}

/// An object that lists are made of.
pub(super) enum Part {
    Snapshot(ObjectId),
    End(ObjectId),
    Note(ObjectId),
}

impl Part {
    pub fn of(key: &Key) -> Option<Self> {
        let snapshot = Folder::Snapshots.id(key).map(Self::Snapshot);
        snapshot.or_else(|| layout::ended_session(key).map(Self::End)).or_else(|| Folder::Notes.id(key).map(Self::Note))
    }
}

/// What helps where a note is lost: what is to be deleted, the note itself if it is there, and the end that names it.
fn without_note(id: &ObjectId, is_there: bool, run: Option<&ObjectId>) -> String {
    let note = Folder::Notes.key(id);
    let end = run.map(layout::session_end);
    let deleted: Vec<&str> = is_there.then_some(&note).into_iter().chain(&end).map(Key::as_str).collect();
    format!(
        "put {} back from a second copy of the repository; where there is none, delete {} there: pins, tags and notes on \
         snapshots that were kept in it are gone then, so look at `larder snapshots` and set them again",
        note.as_str(),
        deleted.join(" and ")
    )
}

fn label(note: &ObjectId) -> String {
    Folder::Notes.object(note)
}

/// What [`Repository::read_part`] says of an end.
fn take_end(said: &[u8]) -> wire::Result<(SessionId, SessionEnd)> {
    let mut r = Reader::new(said, "session end");
    Ok((SessionId::new(r.array()?), SessionEnd::parse(r.bytes(r.remaining())?)?))
}

/// What [`Repository::read_part`] says of a snapshot.
fn take_snapshot(said: &[u8]) -> wire::Result<(SessionId, Summary, Option<Body>)> {
    let mut r = Reader::new(said, "snapshot");
    let session = SessionId::new(r.array()?);
    let summary = Summary::parse(r.prefixed()?)?;
    let body = r.bytes(r.remaining())?;
    let body = Some(body).filter(|body| !body.is_empty()).and_then(|body| Body::parse(body).ok());
    let body = body.filter(|body| is_of(&summary, body));
    Ok((session, summary, body))
}

/// Whether a summary and a body speak of the same sources.
fn is_of(summary: &Summary, body: &Body) -> bool {
    let said = summary.sources.iter().map(|source| (&source.name, source.kind));
    said.eq(body.sources.iter().map(|source| (&source.name, source.kind)))
}

impl Repository {
    /// Lists all snapshots, and opens only what the cache does not know.
    pub fn snapshots(&self) -> Result<Listing> {
        let cache = ListCache::open(self);
        let said = self.said(&cache)?;
        // Without it the next list reads more, and finds the same.
        let _ = cache.renew(self, &said);
        self.listing(said)
    }

    /// The same, from the objects themselves, for those who want to know whether they are whole.
    pub fn snapshots_anew(&self) -> Result<Listing> {
        self.listing(self.said(&ListCache::default())?)
    }

    /// A run that ended after the snapshots were listed has an end that names one which was not there yet.
    fn listing(&self, said: Vec<Said<'_>>) -> Result<Listing> {
        let mut listing = Listing::of(said);
        let is_missing = |(_, error): &(ObjectId, Error)| error.kind() == Kind::Missing;
        if !listing.gone.is_empty() || listing.damaged.iter().any(is_missing) {
            let there: HashSet<ObjectId> = self.list(Folder::Snapshots)?.into_iter().collect();
            listing.gone.retain(|id| !there.contains(id));
            // Forgotten since it was listed, or else it is among those that are gone.
            listing.damaged.retain(|one| !is_missing(one) || there.contains(&one.0));
        }
        Ok(listing)
    }

    /// What every object says that lists are made of. Snapshots are listed before what confirms them, so that one
    /// confirmed in between is not taken for one that never was.
    fn said<'c>(&self, cache: &'c ListCache) -> Result<Vec<Said<'c>>> {
        let mut out = Vec::new();
        for folder in [Folder::Snapshots, Folder::Sessions, Folder::Notes] {
            out.extend(self.said_in(folder, cache)?);
        }
        Ok(out)
    }

    /// The same of one folder.
    pub(super) fn said_in<'c>(&self, folder: Folder, cache: &'c ListCache) -> Result<Vec<Said<'c>>> {
        let said = |listed: Listed| {
            let part = Part::of(&listed.key)?;
            let known = cache.get(&listed).map(Cow::Borrowed);
            let said = known.map_or_else(|| self.read_part(&part, &listed.key).map(Cow::Owned), Ok);
            Some((listed, said))
        };
        Ok(self.storage().list(folder.name())?.into_par_iter().filter_map(said).collect())
    }

    /// Those of these snapshots that are pinned, be they listed or not. Fails if a note cannot be read, or is gone.
    pub fn pinned_of(&self, ids: &HashSet<ObjectId>) -> Result<Vec<ObjectId>> {
        let cache = ListCache::open(self);
        let said = [Folder::Sessions, Folder::Notes].map(|folder| self.said_in(folder, &cache));
        let said = said.into_iter().collect::<Result<Vec<_>>>()?.concat();
        let mut about = About::of(&said);
        match about.lost_notes.pop().or(about.lost_ends.pop()) {
            Some((_, error)) => Err(error),
            None => Ok(ids.iter().filter(|id| about.standing(id, &Summary::default()).is_pinned).copied().collect()),
        }
    }

    /// What one object says: the session of a snapshot, its summary, and its body if that is short; the session of an
    /// end, and the end itself; a note without the packs that it verified.
    pub(super) fn read_part(&self, part: &Part, key: &Key) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        match part {
            Part::Snapshot(id) => {
                let audiences = [Audience::Summary, Audience::Content];
                let (header, [summary, body]) = self.read_at(Folder::Snapshots, id, key, audiences)?;
                out.extend_from_slice(header.session.as_bytes());
                put_prefixed(&mut out, &summary);
                out.extend(Some(body).filter(|body| body.len() <= LISTED_BODY_BYTES_MAX).into_iter().flatten());
            }
            Part::End(session) => {
                let end = self.session_end(session)?;
                let gone = || Error::new(Kind::Missing, format!("session {} has no end", session.short()));
                let (session, end) = end.ok_or_else(gone)?;
                out.extend_from_slice(session.as_bytes());
                out.extend(end.encode());
            }
            Part::Note(id) => out = Note { verified: Vec::new(), ..self.note(id)? }.encode(),
        }
        Ok(out)
    }

    /// The whole snapshot behind a line of a list, without opening it again where the list has it all.
    pub fn snapshot_of(&self, info: &SnapshotInfo) -> Result<Snapshot> {
        match &info.body {
            Some(body) => Ok(Snapshot { id: info.id, summary: info.summary.clone(), body: body.clone() }),
            None => self.snapshot(&info.id),
        }
    }

    /// Reads a whole snapshot.
    pub fn snapshot(&self, id: &ObjectId) -> Result<Snapshot> {
        self.snapshot_at(id, &Folder::Snapshots.key(id))
    }

    /// The same of one that lies somewhere else.
    pub(super) fn snapshot_at(&self, id: &ObjectId, key: &Key) -> Result<Snapshot> {
        let place = format!("snapshot {}", id.short());
        let (_, [summary, body]) = self.read_at(Folder::Snapshots, id, key, [Audience::Summary, Audience::Content])?;
        let summary = Summary::parse(&summary).map_err(|e| malformed(&place, &e))?;
        let body = Body::parse(&body).map_err(|e| malformed(&place, &e))?;
        if !is_of(&summary, &body) {
            return Err(Error::new(Kind::Damage, format!("{place} contradicts itself"))
                .why("its summary names other sources than its body")
                .fix("restore another snapshot; `larder check` tells what else is damaged"));
        }
        Ok(Snapshot { id: *id, summary, body })
    }

    /// Reads the end of a session, with the session's id; `None` if it has none.
    pub fn session_end(&self, session: &ObjectId) -> Result<Option<(SessionId, SessionEnd)>> {
        let place = format!("session end {}", session.short());
        let Some(bytes) = self.get_if_there(&layout::session_end(session))? else { return Ok(None) };
        let body = strip_check(&bytes, "session end").map_err(|e| malformed(&place, &e))?;
        let (header, [record]) = self.open_object(&place, ObjectKind::SessionEnd, body, [Audience::Summary])?;
        let end = SessionEnd::parse(&record).map_err(|e| malformed(&place, &e))?;
        Ok(Some((header.session, end)))
    }

    /// Reads what a session said of itself when it began, with its id.
    pub fn session(&self, name: &ObjectId) -> Result<(SessionId, SessionRecord)> {
        let (header, [record]) = self.read_with_header(Folder::Sessions, name, [Audience::Summary])?;
        let record = SessionRecord::parse(&record);
        Ok((header.session, record.map_err(|e| malformed(&format!("session {}", name.short()), &e))?))
    }

    /// Reads a note.
    pub fn note(&self, id: &ObjectId) -> Result<Note> {
        let [record] = self.read(Folder::Notes, id, [Audience::Summary])?;
        Note::parse(&record).map_err(|e| malformed(&label(id), &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{SourceKind, SourceSummary};

    fn info(sources: &[&str], drills: &[(&str, &str, bool)]) -> SnapshotInfo {
        let source =
            |name: &&str| SourceSummary { name: (*name).into(), kind: SourceKind::Folder, entries: 1, bytes: 1 };
        let id = ObjectId::ZERO;
        let drill = |(n, (source, path, passed)): (usize, &(&str, &str, bool))| {
            let mut drill = Drill { time: at(n as i64), path: (*path).into(), ..Drill::of(id) };
            drill.source = Some(source.as_bytes().to_vec()).filter(|name| name != b"*");
            (!passed).then(|| drill.fail("it is not"));
            drill
        };
        SnapshotInfo {
            id,
            session: SessionId::ZERO,
            summary: Summary { sources: sources.iter().map(source).collect(), ..Summary::default() },
            body: None,
            confirmed: true,
            condition: None,
            standing: Standing::default(),
            drills: drills.iter().enumerate().map(drill).collect(),
        }
    }

    fn at(seconds: i64) -> Time {
        Time { seconds, nanos: 0 }
    }

    #[test]
    fn only_what_was_drilled_whole_is_proven_and_a_failure_lasts_until_it_is_made_good() {
        let proof = |drills: &[_]| info(&["a", "b"], drills).proof();
        assert_eq!(proof(&[]), Proof::None);
        assert_eq!(proof(&[("*", "", true)]), Proof::Proven(at(0)));
        assert_eq!(proof(&[("a", "", true)]), Proof::None);
        assert_eq!(proof(&[("b", "", true), ("a", "", true)]), Proof::Proven(at(0)));
        assert_eq!(proof(&[("*", "", true), ("a", "", true), ("b", "x", true)]), Proof::Proven(at(0)));
        assert_eq!(proof(&[("a", "x", true), ("b", "x", true)]), Proof::None);
        assert_eq!(proof(&[("*", "", true), ("b", "x/y", false)]), Proof::Failed(at(1)));
        assert_eq!(
            proof(&[("*", "", true), ("b", "x/y", false), ("b", "z", true), ("a", "", true)]),
            Proof::Failed(at(1))
        );
        assert_eq!(proof(&[("*", "", true), ("b", "x/y", false), ("b", "x", true)]), Proof::None);
        assert_eq!(proof(&[("*", "", false), ("b", "", true), ("a", "", true)]), Proof::Proven(at(1)));
        assert_eq!(info(&[], &[("*", "", true)]).proof(), Proof::None);
    }

    #[test]
    fn what_a_check_found_lasts_until_all_was_drilled_since() {
        let found = |seconds, is_damaged, drills: &[_]| {
            let condition = Condition { snapshot: ObjectId::ZERO, time: at(seconds), is_damaged, unknown: Vec::new() };
            SnapshotInfo { condition: Some(condition), ..info(&["a", "b"], drills) }.proof()
        };
        let all = [("a", "", true), ("b", "", true)];
        assert_eq!(found(0, false, &[]), Proof::None);
        assert_eq!(found(5, true, &[]), Proof::Damaged(at(5)));
        assert_eq!(found(5, true, &all), Proof::Damaged(at(5)));
        assert_eq!(found(0, true, &all), Proof::Damaged(at(0)), "one of both was drilled before");
        assert_eq!(found(-1, true, &all), Proof::Proven(at(0)));
        assert_eq!(found(-1, true, &all[..1]), Proof::Damaged(at(-1)));
        assert_eq!(found(-1, true, &[all[0], all[1], ("b", "x", false)]), Proof::Damaged(at(-1)));
        assert_eq!(found(1, false, &[("b", "x", false)]), Proof::Failed(at(0)), "a drill sees more than a check");
    }

    #[test]
    fn the_last_that_a_check_found_counts_in_whatever_order_notes_come() {
        let found = |seconds, is_damaged| Note {
            conditions: vec![Condition {
                snapshot: ObjectId::ZERO,
                time: at(seconds),
                is_damaged,
                unknown: Vec::new(),
            }],
            ..Note::default()
        };
        let last = |notes: [Note; 3]| {
            let mut about = About::default();
            notes.into_iter().for_each(|note| about.note(note));
            about.conditions[&ObjectId::ZERO].is_damaged
        };
        assert!(!last([found(1, true), found(3, false), found(2, true)]));
        assert!(
            last([found(3, true), found(3, false), found(2, true)])
                && last([found(3, false), found(3, true), found(2, false)])
        );
        let ahead = found(9, true).conditions.remove(0);
        assert_eq!(Condition::time_of_next(Some(&ahead), at(4)), at(9).next());
        assert_eq!(Condition::time_of_next(None, at(4)), at(4));
    }
}
