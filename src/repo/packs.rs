//! Reading single packs: head, table, frames.

use super::open::check_name;
use super::{Folder, ObjectAt, Repository, malformed, unopened};
use crate::crypto::ObjectHasher;
use crate::error::{Error, Kind, Result};
use crate::id::{ObjectId, SessionId};
use crate::pack::{FrameInfo, HEAD_BYTES, PACK_BYTES_MAX, PackKey, TRAILER_BYTES, Table, Trailer, decode_table};

/// Who reads a pack through has about so much of it at hand. Bytes.
const THROUGH_BYTES: u64 = 2 << 20;

fn place(id: &ObjectId) -> String {
    format!("pack {}", id.short())
}

/// Opens a pack's head: what opens its frames and its table.
pub fn read_head(repository: &Repository, id: &ObjectId) -> Result<PackKey> {
    let at = Folder::Packs.key(id);
    repository.pack_part(id, 0, HEAD_BYTES, |head| match open_head(repository, id, &head) {
        // One wrong bit can make it look so, and smaller objects are compared with their names before they are believed.
        Err(e) if matches!(e.kind(), Kind::Newer | Kind::WrongKey) => {
            let pack = repository.storage().get(&at, PACK_BYTES_MAX).map_err(|_| e)?;
            open_named_head(repository, id, &pack)
        }
        other => other,
    })
}

/// Opens the head of a pack whose bytes are all at hand. One that cannot be opened is damaged, and not newer, or sealed
/// for another key, if its bytes are not those that its name says.
fn open_named_head(repository: &Repository, id: &ObjectId, pack: &[u8]) -> Result<PackKey> {
    let head = &pack[..pack.len().min(HEAD_BYTES)];
    open_head(repository, id, head).map_err(|e| check_name(&place(id), id, pack).err().unwrap_or(e))
}

fn open_head(repository: &Repository, id: &ObjectId, head: &[u8]) -> Result<PackKey> {
    let (header, key) = PackKey::open(repository.keys(), head).map_err(|e| unopened(&place(id), &e))?;
    if header.repository != repository.id() {
        return Err(Error::new(Kind::Damage, format!("{} belongs to another repository", place(id)))
            .why(format!("{} found, {} expected", header.repository, repository.id()))
            .fix("remove it from this repository's folder"));
    }
    Ok(key)
}

/// The session of the run that stored a pack.
pub fn pack_session(repository: &Repository, id: &ObjectId) -> Result<SessionId> {
    repository.pack_part(id, 0, HEAD_BYTES, |head| {
        PackKey::open(repository.keys(), &head).map(|(header, _)| header.session).map_err(|e| unopened(&place(id), &e))
    })
}

/// Reads a pack's table: its key, its size and what lies in it.
pub fn read_table(repository: &Repository, id: &ObjectId) -> Result<(PackKey, u64, Table)> {
    let table = table_as_it_is(repository, id);
    repository.or_mended(table, ObjectAt::in_place(Folder::Packs, id), |pack| {
        let (key, table) = repository.open_pack_bytes(id, pack).ok()?;
        Some((key, pack.len() as u64, table))
    })
}

fn table_as_it_is(repository: &Repository, id: &ObjectId) -> Result<(PackKey, u64, Table)> {
    let size = repository.pack_size(id)?;
    let too_short = (HEAD_BYTES + TRAILER_BYTES) as u64;
    if !(too_short..=PACK_BYTES_MAX).contains(&size) {
        return Err(Error::new(Kind::Damage, format!("{} is damaged", place(id)))
            .why(format!("it is {size} bytes long, {too_short} to {PACK_BYTES_MAX} expected"))
            .fix(super::REPAIR));
    }
    let key = read_head(repository, id)?;
    let end = repository.pack_range(id, size - TRAILER_BYTES as u64, TRAILER_BYTES)?;
    let trailer = Trailer::parse(&end, size).map_err(|e| malformed(&place(id), &e))?;
    let sealed = repository.pack_range(id, trailer.table_offset.into(), trailer.table_len as usize)?;
    let table = decode_table(&key, &trailer, &sealed).map_err(|e| unopened(&place(id), &e))?;
    Ok((key, size, table))
}

/// Reads a pack once, from its beginning to its end, and calls with each frame of its table until the call says that it is
/// bad. Whether it never did, and the bytes are those that the pack's name says.
pub fn read_through(
    repository: &Repository,
    id: &ObjectId,
    mut is_good: impl FnMut(&PackKey, u32, &FrameInfo, &[u8]) -> bool,
) -> Result<bool> {
    let (key, size, table) = read_table(repository, id)?;
    let (at, storage) = (Folder::Packs.key(id), repository.storage());
    let object = storage.open(&at)?;
    let (mut hasher, mut bytes, mut begin) = (ObjectHasher::default(), Vec::new(), 0);
    let mut read = |from: u64, to: u64, bytes: &mut Vec<u8>| -> Result<()> {
        match &object {
            Some(object) => object.read(from, (to - from) as usize, bytes)?,
            None => *bytes = storage.get_range(&at, from, (to - from) as usize)?,
        }
        hasher.update(bytes);
        Ok(())
    };
    let mut ordinals = 0..;
    for frames in windows(&table.frames) {
        let end = frames.last().map_or(begin, |last| last.offset + u64::from(last.stored_len));
        read(begin, end, &mut bytes)?;
        for (frame, ordinal) in frames.iter().zip(&mut ordinals) {
            let within = (frame.offset - begin) as usize;
            if !is_good(&key, ordinal, frame, &bytes[within..within + frame.stored_len as usize]) {
                return Ok(false);
            }
        }
        begin = end;
    }
    read(begin, size, &mut bytes)?;
    Ok(hasher.finish() == *id)
}

/// Frames that are read together.
fn windows(frames: &[FrameInfo]) -> impl Iterator<Item = &[FrameInfo]> {
    let mut begin = 0;
    frames.chunk_by(move |_, next| {
        let is_near = next.offset < begin + THROUGH_BYTES;
        if !is_near {
            begin = next.offset;
        }
        is_near
    })
}

impl Repository {
    /// Opens a pack whose bytes are all at hand: its key and its table.
    pub fn open_pack_bytes(&self, id: &ObjectId, bytes: &[u8]) -> Result<(PackKey, Table)> {
        let bad = |error: &crate::wire::Malformed| malformed(&place(id), error);
        let size = bytes.len();
        let Some(end) = size.checked_sub(TRAILER_BYTES).filter(|end| *end >= HEAD_BYTES) else {
            return Err(bad(&crate::wire::Malformed::bad("pack", format!("only {size} bytes"))));
        };
        let key = open_named_head(self, id, bytes)?;
        let trailer = Trailer::parse(&bytes[end..], size as u64).map_err(|e| bad(&e))?;
        let at = trailer.table_offset as usize;
        let sealed = &bytes[at..at + trailer.table_len as usize];
        let table = decode_table(&key, &trailer, sealed).map_err(|e| unopened(&place(id), &e))?;
        Ok((key, table))
    }
}
