//! Does it: condemn, wait, look again, copy, remove. The numbers are those of docs/concurrency.md.

use std::collections::HashSet;
use std::time::Duration;

use super::super::backup::{LEVEL, RESERVE_SHARE};
use super::super::damage;
use super::copies::{Task, tasks};
use super::used::Used;
use super::{Options, Plan, Report, check_known, copies, gone, index, needed, trash};
use crate::crypto::Audience;
use crate::error::{Error, Kind, Result};
use crate::event::Job;
use crate::id::{ChunkPrefix, ObjectId};
use crate::index::StoredCopy;
use crate::record::Tomb;
use crate::repo::{Catalogue, ChunkReader, ChunkWriter, Folder, Listing, OpenSession, Place, Repository, Session};
use crate::text;

/// How often packs are listed, while other prunes take some away.
const ROUNDS: usize = 5;
/// How often sessions are looked at while one is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// So many of the runs that are waited for are named.
const AWAITED_NAMED_MAX: usize = 3;
/// A run is taken for dead after so long where nothing tells whether it lives.
const SILENCE_MAX: Duration = Duration::from_secs(30 * 60);

/// Does what was planned. Damage that it meets is recorded.
pub fn apply(repository: &Repository, plan: Plan, options: &Options, job: Job<'_>) -> Result<Report> {
    let done = do_it(repository, plan, options, job);
    damage::record_met(repository, job);
    done
}

fn do_it(repository: &Repository, plan: Plan, options: &Options, job: Job<'_>) -> Result<Report> {
    repository.storage().make_room();
    let session = Session::unlisted(repository)?;
    let stored_bytes = plan.stored_bytes.saturating_sub(plan.choice.freed_bytes());
    let Plan { packs, choice, whole, spared, used, .. } = plan;
    let report = Report::default();
    let mut run = Run { repository, session: &session, options, job, whole, spared, used, is_wait_told: false, report };
    // Space first: what is free already, then what is free without a copy.
    let is_kept_busy = options.grace.is_none() && run.other_runs()? > 0;
    if !is_kept_busy {
        trash::empty(repository, options.grace, &mut run.report, job)?;
    }
    let rounds = match options.grace {
        None => vec![choice.drop, choice.repack],
        Some(_) => vec![[choice.drop, choice.repack].concat()],
    };
    for numbers in rounds.into_iter().filter(|numbers| !numbers.is_empty()) {
        run.round(&numbers.iter().map(|number| packs[*number].id).collect::<Vec<_>>())?;
        run.report.removed_bytes += numbers.iter().map(|number| packs[*number].size).sum::<u64>();
    }
    run.clear_tombs()?;
    run.clear_damage()?;
    repository.storage().set_aside(stored_bytes / RESERVE_SHARE);
    Ok(run.report)
}

struct Run<'a> {
    repository: &'a Repository,
    session: &'a Session<'a>,
    options: &'a Options,
    job: Job<'a>,
    whole: HashSet<ChunkPrefix>,
    spared: HashSet<ChunkPrefix>,
    used: Used,
    /// Whether it was said for whom this waits.
    is_wait_told: bool,
    report: Report,
}

impl Run<'_> {
    /// Condemns packs and removes them. If anything fails before, what was condemned is free again.
    fn round(&mut self, condemned: &[ObjectId]) -> Result<()> {
        let storage = self.repository.storage();
        let tomb = Tomb { packs: condemned.to_vec(), time: Some(self.repository.world().now()), ..Tomb::default() };
        // 2
        let tomb = self.session.put(Folder::Tombs, &[(Audience::Index, &tomb.encode())])?;
        let done = storage.barrier().map_err(Error::from).and_then(|()| self.under_tomb(&tomb, condemned));
        if done.is_err() {
            // It may give up at any step; a tomb that cannot be removed now is the next prune's.
            let _ = storage.delete(&Folder::Tombs.key(&tomb)).and_then(|()| storage.barrier());
        }
        done
    }

    fn under_tomb(&mut self, tomb: &ObjectId, condemned: &[ObjectId]) -> Result<()> {
        let storage = self.repository.storage();
        // 3
        self.wait()?;
        // 4
        self.job.phase("looking at snapshots again", None, None);
        let listing = self.repository.snapshots_anew()?;
        let trashed = self.repository.trashed(Folder::Snapshots)?;
        // 5, 6
        let catalogue = self.settle(tomb, &listing)?;
        // 7
        for pack in catalogue.orphans().iter().filter(|pack| !catalogue.is_condemned(&pack.id)) {
            storage.adopt(&Folder::Packs.key(&pack.id));
        }
        let there = listing.snapshots.iter().map(|info| info.id);
        for id in there.chain(listing.gone.iter().copied()).chain(trashed.iter().map(|(id, _)| *id)) {
            storage.adopt(&Folder::Snapshots.key(&id));
        }
        storage.barrier()?;
        // 8
        let in_trash = self.is_for_trash()?;
        let own: HashSet<ObjectId> = condemned.iter().copied().collect();
        let stays = |pack: &ObjectId| !own.contains(pack) && !catalogue.missing().contains(pack);
        let replaced = match index::replace(self.session, &stays, self.job) {
            // Where nothing was stored again, the index only names too much, and that can wait until there is room.
            Err(e) if e.kind() == Kind::NoSpace && self.report.added_bytes == 0 && !in_trash => None,
            other => Some(other?),
        };
        if !in_trash {
            // Their data cannot be had back any more.
            for (id, _) in &trashed {
                self.repository.delete_trashed(Folder::Snapshots, id)?;
            }
            self.report.snapshots_gone += trashed.len() as u64;
        }
        storage.barrier()?;
        // 9
        self.retire(replaced.as_deref().unwrap_or_default())?;
        self.remove(condemned, in_trash)?;
        storage.barrier()?;
        if replaced.is_none() {
            let replaced = index::replace(self.session, &stays, self.job)?;
            storage.barrier()?;
            self.retire(&replaced)?;
            storage.barrier()?;
        }
        // 10
        match in_trash {
            true => self.bury(tomb),
            false => Ok(storage.delete(&Folder::Tombs.key(tomb)).and_then(|()| storage.barrier())?),
        }
    }

    /// Waits for all runs that are listed now. Those that come later see the tomb.
    fn wait(&mut self) -> Result<()> {
        let world = self.repository.world();
        let begun = world.elapsed();
        let mut first: Option<HashSet<ObjectId>> = None;
        loop {
            let open = self.repository.open_sessions()?;
            let waited = first.get_or_insert_with(|| open.iter().map(|it| it.name).collect());
            let is_old = world.elapsed().saturating_sub(begun) >= SILENCE_MAX;
            let is_dead = |it: &OpenSession| it.is_held == Some(false) || it.is_held.is_none() && is_old;
            let (dead, alive): (Vec<_>, Vec<_>) =
                open.into_iter().filter(|it| waited.contains(&it.name)).partition(is_dead);
            for it in dead {
                self.repository.expire_session(&it.name)?;
                self.report.runs_expired += 1;
            }
            if alive.is_empty() {
                return Ok(());
            }
            if self.options.no_wait {
                return Err(busy(alive.len()));
            }
            if !std::mem::replace(&mut self.is_wait_told, true) {
                self.job.note(&awaited(self.repository, &alive));
            }
            self.job.phase("waiting for other runs to end", None, None);
            self.job.cancel.check()?;
            world.pause(LOOK_EVERY);
        }
    }

    /// Looks at what stays, and stores what does not, until all that is used stays. Other prunes may be at work: what
    /// they took away is looked for anew.
    fn settle(&mut self, tomb: &ObjectId, listing: &Listing) -> Result<Catalogue> {
        let mut failure = None;
        for _ in 0..ROUNDS {
            let catalogue = Catalogue::load_to_write(self.repository, self.job)?;
            check_known(&catalogue)?;
            match self.settle_once(tomb, listing, &catalogue) {
                Ok(true) => return Ok(catalogue),
                Ok(false) => {}
                Err(e) if matches!(e.kind(), Kind::Missing | Kind::Damage) => {
                    // Half of a tree may have been gathered.
                    self.used = Used::default();
                    failure = Some(e);
                }
                Err(e) => return Err(e),
            }
        }
        Err(failure.unwrap_or_else(|| {
            Error::new(Kind::Busy, "nothing was removed: other prunes took away what this one was about to copy")
                .fix("run it again when they are done")
        }))
    }

    /// Whether all that is used stays; else some of it was stored again.
    fn settle_once(&mut self, tomb: &ObjectId, listing: &Listing, catalogue: &Catalogue) -> Result<bool> {
        let reader = ChunkReader::new(self.repository, catalogue);
        self.used.gather(&reader, listing, self.job)?;
        let (copies, staying) = copies(catalogue, &self.whole);
        let needed = needed(&self.used, &self.spared, &copies);
        let found = tasks(&needed, &copies, staying, &self.whole);
        let others = catalogue.tombs().iter().any(|other| other != tomb);
        self.check_lost(catalogue, &found.lost, others)?;
        if found.again.is_empty() {
            return Ok(true);
        }
        self.store_again(&reader, &copies, found.again)?;
        Ok(false)
    }

    /// What no copy can be made whole of: it must be nobody's whom this prune could take it from.
    fn check_lost(&self, catalogue: &Catalogue, lost: &HashSet<ChunkPrefix>, others: bool) -> Result<()> {
        if others && self.used.has_gaps {
            return Err(gone("a tree node"));
        }
        for id in lost {
            let mut copies = catalogue.copies_to_read(id).map(|place| catalogue.pack(place.pack).id).peekable();
            let is_listed = |pack: &ObjectId| !catalogue.missing().contains(pack);
            let is_nowhere = !copies.by_ref().any(|pack| is_listed(&pack));
            if is_nowhere && !self.used.confirmed.contains(id) && !others {
                continue;
            }
            // What is damaged, in a pack that stays, is as it was.
            let stays = |pack: ObjectId| is_listed(&pack) && !catalogue.is_condemned(&pack);
            let mut packs = catalogue.copies_to_read(id).map(|place| catalogue.pack(place.pack).id);
            if !packs.any(stays) {
                return Err(gone(&format!("chunk {id}")));
            }
        }
        Ok(())
    }

    fn store_again(&mut self, reader: &ChunkReader<'_>, copies: &[StoredCopy<Place>], again: Vec<Task>) -> Result<()> {
        let bytes = again.iter().map(|task| u64::from(copies[task.copy].place.raw_len)).sum();
        self.job.phase("storing again what stays", Some(again.len() as u64), Some(bytes));
        let before = self.session.bytes_written();
        let writer = ChunkWriter::new(self.session, reader, LEVEL);
        let mut frames = writer.frames()?;
        for task in again {
            self.job.cancel.check()?;
            let copy = &copies[task.copy];
            frames.store_again(reader.again(&copy.id, &copy.place, task.as_delta)?)?;
            self.job.advance(1, copy.place.raw_len.into());
        }
        frames.flush()?;
        writer.finish()?;
        self.report.added_bytes += self.session.bytes_written() - before;
        Ok(())
    }

    /// Whether what is removed goes to the trash.
    fn is_for_trash(&mut self) -> Result<bool> {
        let runs = if self.options.grace.is_none() { self.other_runs()? } else { 0 };
        self.report.runs = self.report.runs.max(runs);
        Ok(self.repository.storage().capabilities().trash && (self.options.grace.is_some() || runs > 0))
    }

    /// Removes index objects in the place of which others are durable.
    fn retire(&self, replaced: &[ObjectId]) -> Result<()> {
        let storage = self.repository.storage();
        replaced.iter().try_for_each(|id| Ok(storage.delete(&Folder::Index.key(id))?))
    }

    fn remove(&mut self, condemned: &[ObjectId], in_trash: bool) -> Result<()> {
        self.job.phase("removing packs", Some(condemned.len() as u64), None);
        let storage = self.repository.storage();
        for id in condemned {
            match in_trash {
                true => self.repository.discard(Folder::Packs, id)?,
                false => storage.delete(&Folder::Packs.key(id))?,
            }
            self.job.advance(1, 0);
        }
        self.report.packs_removed += condemned.len() as u64;
        self.report.in_trash |= in_trash;
        Ok(())
    }

    fn other_runs(&self) -> Result<u64> {
        Ok(self.repository.open_sessions()?.iter().filter(|it| it.is_held != Some(false)).count() as u64)
    }

    /// A tomb whose packs are gone goes after them, where it tells since when they lie there.
    fn bury(&self, tomb: &ObjectId) -> Result<()> {
        self.repository.discard(Folder::Tombs, tomb)?;
        Ok(self.repository.storage().barrier()?)
    }

    /// Tombs of others go as soon as none of their packs is listed.
    fn clear_tombs(&self) -> Result<()> {
        let tombs = self.repository.tombs()?;
        if tombs.is_empty() {
            return Ok(());
        }
        let listed: HashSet<ObjectId> = self.repository.list(Folder::Packs)?.into_iter().collect();
        for (id, tomb) in tombs.iter().filter(|(_, tomb)| !tomb.packs.iter().any(|pack| listed.contains(pack))) {
            self.make_sure_of(&tomb.packs)?;
            self.bury(id)?;
        }
        Ok(())
    }

    /// Damage records go after the last of the packs that they name.
    fn clear_damage(&self) -> Result<()> {
        let storage = self.repository.storage();
        let records = self.repository.list(Folder::Damage)?;
        if records.is_empty() {
            return Ok(());
        }
        let listed: HashSet<ObjectId> = self.repository.list(Folder::Packs)?.into_iter().collect();
        for id in records {
            // One that cannot be read now says nothing of its packs.
            let Ok(damage) = self.repository.damage(&id) else { continue };
            let packs: Vec<ObjectId> = damage.frames.iter().map(|bad| bad.pack).collect();
            if !packs.is_empty() && !packs.iter().any(|pack| listed.contains(pack)) {
                self.make_sure_of(&packs)?;
                storage.delete(&Folder::Damage.key(&id))?;
            }
        }
        Ok(storage.barrier()?)
    }

    /// That these packs are gone must not be undone by a power cut that does not undo what comes now.
    fn make_sure_of(&self, packs: &[ObjectId]) -> Result<()> {
        let storage = self.repository.storage();
        packs.iter().for_each(|pack| storage.adopt(&Folder::Packs.key(pack)));
        Ok(storage.barrier()?)
    }
}

/// For whom a prune waits, and how long at most; safe to print.
fn awaited(repository: &Repository, runs: &[OpenSession]) -> String {
    let mut who: Vec<String> = runs.iter().take(AWAITED_NAMED_MAX).map(|run| described(repository, run)).collect();
    if runs.len() > AWAITED_NAMED_MAX {
        who.push(format!("{} more", runs.len() - AWAITED_NAMED_MAX));
    }
    let limit = match runs.iter().any(|run| run.is_held == Some(true)) {
        true => "for as long as they are at work".to_owned(),
        false => format!("for {} minutes at most, as nothing tells whether they live", SILENCE_MAX.as_secs() / 60),
    };
    let runs = if runs.len() == 1 { "another run".to_owned() } else { format!("{} other runs", runs.len()) };
    format!("waiting for {runs} to end, {limit}: {}", who.join("; "))
}

/// Such as "process 4711 of root on host, begun 3 min ago".
fn described(repository: &Repository, run: &OpenSession) -> String {
    let Ok((_, session)) = repository.session(&run.name) else { return format!("session {}", run.name.short()) };
    let with = |word: &str, name: &[u8]| match name.is_empty() {
        true => String::new(),
        false => format!(" {word} {}", text::escape(name)),
    };
    let seconds = repository.world().now().seconds.saturating_sub(session.time.seconds).max(0);
    let since = if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) };
    format!(
        "process {}{}{}, begun {since} ago",
        session.process,
        with("of", &session.user),
        with("on", &session.client)
    )
}

fn busy(runs: usize) -> Error {
    Error::new(Kind::Busy, "nothing was removed: other runs are at work in this repository")
        .why(format!("{runs} of them would have to end first"))
        .fix("run it again later, or without --no-wait")
}
