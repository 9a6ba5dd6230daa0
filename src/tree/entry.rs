//! The stored form of an entry: a record whose large parts may be chunks of their own.
//!
//! | field | critical | value |
//! |---|---|---|
//! | 1 | yes | kind u8, mode varint, mtime seconds signed, nanoseconds varint, uid varint, gid varint |
//! | 2, 3 | no | owner's, group's name |
//! | 4 | yes | logical size varint; only with extents, else it is the content's length |
//! | 5 | yes | content: level u8, then id and length varint of each chunk; absent when empty |
//! | 6, 7 | yes | extents: inline, or id and length of an attr chunk |
//! | 8, 9 | yes | extended attributes: inline, or id and length of an attr chunk |
//! | 10 | yes | link target |
//! | 11 | yes | hard-link group, 16 bytes |
//! | 12 | yes | device major varint, minor varint |
//! | 22, 23 | no | facts of the database whose image this is: inline, or id and length of an attr chunk |

use super::list::take_item;
use crate::chunk::CHUNK_BYTES_MAX;
use crate::entry::{ChunkRef, Content, Entry, Extent, Kind, PATH_BYTES_MAX, Time, Xattr};
use crate::id::ChunkId;
use crate::wire::{
    self, Fields, Malformed, Reader, Record, Unknown, critical, optional, put_prefixed, put_signed, put_varint,
};

/// Longer attributes or extents go into a chunk of their own.
pub const INLINE_BYTES_MAX: usize = 1 << 10;
const WHAT: &str = "entry";
/// Levels of chunk lists that a reader follows: far more than 2^64 bytes need.
const LEVEL_MAX: u8 = 8;

/// Encoded bytes, in the entry or in an attr chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Large {
    /// The bytes.
    Inline(Vec<u8>),
    /// The chunk that holds them.
    Chunk(ChunkRef),
}

/// An entry as it is stored: its large parts are here, encoded, and not in `entry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Everything else.
    pub entry: Entry,
    /// See [`encode_xattrs`].
    pub xattrs: Option<Large>,
    /// See [`encode_extents`].
    pub extents: Option<Large>,
    /// Of the database whose image it is; a record of its own.
    pub facts: Option<Large>,
    /// Fields of newer programs.
    pub unknown: Unknown,
}

fn put_ref(out: &mut Vec<u8>, chunk: &ChunkRef) {
    out.extend_from_slice(chunk.id.as_bytes());
    put_varint(out, chunk.len);
}

fn take_ref(r: &mut Reader<'_>) -> wire::Result<ChunkRef> {
    Ok(ChunkRef { id: ChunkId::new(r.array()?), len: r.varint()? })
}

impl StoredEntry {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let e = &self.entry;
        let mut record = Record::new(&self.unknown);
        let mut base = vec![e.kind as u8];
        put_varint(&mut base, e.mode.into());
        put_signed(&mut base, e.mtime.seconds);
        for number in [e.mtime.nanos, e.uid, e.gid] {
            put_varint(&mut base, number.into());
        }
        record.bytes(critical(1), &base);
        record.bytes_if(optional(2), &e.user).bytes_if(optional(3), &e.group);
        if self.extents.is_some() {
            record.varint(critical(4), e.size);
        }
        record.bytes_if(critical(5), &encode_content(&e.content));
        put_large(&mut record, critical(6), self.extents.as_ref());
        put_large(&mut record, critical(8), self.xattrs.as_ref());
        record.bytes_if(critical(10), &e.target);
        if let Some(group) = &e.hard_link {
            record.bytes(critical(11), group);
        }
        if e.device != (0, 0) {
            let mut device = Vec::new();
            put_varint(&mut device, e.device.0.into());
            put_varint(&mut device, e.device.1.into());
            record.bytes(critical(12), &device);
        }
        put_large(&mut record, optional(22), self.facts.as_ref());
        record.finish()
    }

    /// Reads the stored form.
    pub fn parse(bytes: &[u8]) -> wire::Result<Self> {
        let mut new =
            Self { entry: Entry::new(Kind::File), xattrs: None, extents: None, facts: None, unknown: Unknown::new() };
        let (mut base, mut size) = (false, None);
        for field in Fields::new(bytes, WHAT).once(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22, 23]) {
            let field = field?;
            let mut r = field.reader(WHAT);
            let e = &mut new.entry;
            match (field.tag >> 1, field.tag & 1) {
                (1, 1) => {
                    base = true;
                    parse_base(&mut r, e)?;
                }
                (2, 0) => e.user = r.bytes(r.remaining())?.to_vec(),
                (3, 0) => e.group = r.bytes(r.remaining())?.to_vec(),
                (4, 1) => size = Some(r.varint_to(i64::MAX as u64)?),
                (5, 1) => e.content = parse_content(&mut r)?,
                (6, 1) => new.extents = Some(Large::Inline(r.bytes(r.remaining())?.to_vec())),
                (7, 1) if new.extents.is_none() => new.extents = Some(Large::Chunk(take_attr_ref(&mut r)?)),
                (8, 1) => new.xattrs = Some(Large::Inline(r.bytes(r.remaining())?.to_vec())),
                (9, 1) if new.xattrs.is_none() => new.xattrs = Some(Large::Chunk(take_attr_ref(&mut r)?)),
                (22, 0) => new.facts = Some(Large::Inline(r.bytes(r.remaining())?.to_vec())),
                (23, 0) if new.facts.is_none() => new.facts = Some(Large::Chunk(take_attr_ref(&mut r)?)),
                (7 | 9, 1) | (23, 0) => return Err(r.bad("both inline and in a chunk")),
                (10, 1) => e.target = r.bytes(r.remaining().min(PATH_BYTES_MAX))?.to_vec(),
                (11, 1) => e.hard_link = Some(r.array()?),
                (12, 1) => e.device = (r.varint_to(u32::MAX.into())? as u32, r.varint_to(u32::MAX.into())? as u32),
                _ => {
                    new.unknown.push(field.unknown(WHAT)?);
                    continue;
                }
            }
            r.end()?;
        }
        if !base {
            return Err(Malformed::bad(WHAT, "it says not what it is"));
        }
        new.entry.size = match (size, &new.extents) {
            (Some(size), Some(_)) => size,
            (None, None) => checked_len(&new.entry.content)?,
            _ => return Err(Malformed::bad(WHAT, "size and extents must come together")),
        };
        new.check()?;
        Ok(new)
    }

    /// What kind of thing a stored form describes, without reading the rest of it.
    pub fn kind_of(bytes: &[u8]) -> Option<Kind> {
        let first = Fields::new(bytes, WHAT).next()?.ok().filter(|field| field.tag == critical(1))?;
        Kind::from_u8(*first.value.first()?)
    }

    /// The attr chunks that it names.
    pub fn attr_chunks(&self) -> impl Iterator<Item = &ChunkRef> {
        [&self.xattrs, &self.extents, &self.facts].into_iter().filter_map(|large| match large {
            Some(Large::Chunk(chunk)) => Some(chunk),
            _ => None,
        })
    }

    /// What an entry of a kind may have.
    fn check(&self) -> wire::Result<()> {
        let e = &self.entry;
        let bad = |why| Err(Malformed::bad(WHAT, why));
        if e.kind != Kind::File && (!e.content.chunks.is_empty() || self.extents.is_some() || self.facts.is_some()) {
            return bad("only files have content");
        }
        if (e.kind == Kind::Symlink) == e.target.is_empty() || e.target.contains(&0) {
            return bad("links, and nothing else, have a target");
        }
        if e.device != (0, 0) && !matches!(e.kind, Kind::CharDevice | Kind::BlockDevice) {
            return bad("only devices have device numbers");
        }
        if e.hard_link.is_some() && e.kind == Kind::Directory {
            return bad("a directory has no hard links");
        }
        if e.mode > 0o7777 || e.mtime.nanos > 999_999_999 {
            return bad("mode or time out of range");
        }
        Ok(())
    }
}

fn put_large(record: &mut Record, inline_tag: u64, large: Option<&Large>) {
    match large {
        Some(Large::Inline(bytes)) => {
            record.bytes(inline_tag, bytes);
        }
        Some(Large::Chunk(chunk)) => {
            let mut value = Vec::new();
            put_ref(&mut value, chunk);
            record.bytes(inline_tag + 2, &value);
        }
        None => {}
    }
}

fn take_attr_ref(r: &mut Reader<'_>) -> wire::Result<ChunkRef> {
    let chunk = take_ref(r)?;
    if chunk.len > CHUNK_BYTES_MAX as u64 { Err(r.bad("an attr chunk longer than 16 MiB")) } else { Ok(chunk) }
}

fn parse_base(r: &mut Reader<'_>, e: &mut Entry) -> wire::Result<()> {
    let number = r.u8()?;
    e.kind = Kind::from_u8(number).ok_or_else(|| Malformed::Newer { what: format!("an entry of kind {number}") })?;
    e.mode = r.varint_to(0o7777)? as u32;
    e.mtime = Time { seconds: r.signed()?, nanos: r.varint_to(999_999_999)? as u32 };
    e.uid = r.varint_to(u32::MAX.into())? as u32;
    e.gid = r.varint_to(u32::MAX.into())? as u32;
    Ok(())
}

fn parse_content(r: &mut Reader<'_>) -> wire::Result<Content> {
    let level = r.u8()?;
    if level > LEVEL_MAX {
        return Err(r.bad(format!("content behind {level} levels of lists")));
    }
    let mut chunks = Vec::with_capacity(r.remaining() / 33);
    while !r.is_empty() {
        chunks.push(take_item(r, level)?);
    }
    if chunks.is_empty() {
        return Err(r.bad("content without a chunk"));
    }
    Ok(Content { level, chunks })
}

/// Content as bytes; none where there is none.
pub fn encode_content(content: &Content) -> Vec<u8> {
    let mut out = Vec::new();
    if !content.chunks.is_empty() {
        out.push(content.level);
        content.chunks.iter().for_each(|chunk| put_ref(&mut out, chunk));
    }
    out
}

/// The content's length, or an error where a hostile sum overflows.
fn checked_len(content: &Content) -> wire::Result<u64> {
    content
        .chunks
        .iter()
        .try_fold(0u64, |sum, chunk| sum.checked_add(chunk.len))
        .filter(|len| *len <= i64::MAX as u64)
        .ok_or_else(|| Malformed::bad(WHAT, "content longer than 2^63 bytes"))
}

/// Attributes as bytes: name and value of each, behind their lengths, sorted by name.
pub fn encode_xattrs(xattrs: &[Xattr]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in xattrs {
        put_prefixed(&mut out, name);
        put_prefixed(&mut out, value);
    }
    out
}

/// The way back; names must ascend and be usable.
pub fn decode_xattrs(bytes: &[u8]) -> wire::Result<Vec<Xattr>> {
    let mut r = Reader::new(bytes, "extended attributes");
    let mut out: Vec<Xattr> = Vec::new();
    while !r.is_empty() {
        let (name, value) = (r.prefixed()?, r.prefixed()?);
        if name.is_empty() || name.contains(&0) || out.last().is_some_and(|(last, _)| last.as_slice() >= name) {
            return Err(r.bad("names must be without NUL, and ascend"));
        }
        out.push((name.to_vec(), value.to_vec()));
    }
    Ok(out)
}

/// Extents as bytes: for each the gap since the last one's end, and the length, as varints.
pub fn encode_extents(extents: &[Extent]) -> Vec<u8> {
    let (mut out, mut end) = (Vec::new(), 0);
    for extent in extents {
        put_varint(&mut out, extent.offset - end);
        put_varint(&mut out, extent.len);
        end = extent.offset + extent.len;
    }
    out
}

/// The way back; extents must lie apart, within `size`, and hold as many bytes as the content.
pub fn decode_extents(bytes: &[u8], size: u64, content: &Content) -> wire::Result<Vec<Extent>> {
    let mut r = Reader::new(bytes, "extents");
    let mut out: Vec<Extent> = Vec::new();
    let (mut end, mut total) = (0u64, 0u64);
    while !r.is_empty() {
        let (gap, len) = (r.varint()?, r.varint()?);
        let offset = end.checked_add(gap).ok_or_else(|| r.bad("an offset beyond 2^64"))?;
        end = offset
            .checked_add(len)
            .filter(|end| *end <= size)
            .ok_or_else(|| r.bad("an extent beyond the file's end"))?;
        if len == 0 || (gap == 0 && !out.is_empty()) {
            return Err(r.bad("empty or touching extents"));
        }
        total += len;
        out.push(Extent { offset, len });
    }
    if total != checked_len(content)? {
        return Err(r.bad(format!("{total} bytes of extents, {} of content", content.len())));
    }
    Ok(out)
}
