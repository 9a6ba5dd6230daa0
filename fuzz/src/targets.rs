//! The targets. Each takes any bytes, and panics if larder panics, or if what it accepts is not stored again as the
//! very same bytes: a format has one spelling.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::os::unix::ffi::OsStrExt;

use larder::chunk::Params;
use larder::cli::address::{Address, Target as Meant, When};
use larder::cli::keyfile;
use larder::crypto::Identity;
use larder::entry::{ChunkRef, Content};
use larder::id::{ChunkId, ChunkPrefix};
use larder::index::Index;
use larder::pack::{
    ChunkInfo, DeltaFrameBuilder, FRAME_BYTES_MAX, FrameBuilder, FrameBytes, HEAD_BYTES, Stored, Table, Trailer,
    decode_delta,
};
use larder::record::{
    Body, Config, Damage, Facts, Note, SessionEnd, SessionRecord, Slot, SlotLock, Summary, Tomb, add_check,
};
use larder::seal::{Compressor, Decompressor, HEADER_BYTES, Header, ObjectKind, open_section, sections};
use larder::source::sqlite;
use larder::tree::{
    ChunkList, Large, Node, NodeItems, StoredEntry, check_path, compare_paths, decode_extents, decode_xattrs,
    encode_extents, encode_xattrs, is_below,
};
use larder::wire::{self, Field, Fields, Reader, Record, put_prefixed, put_signed, put_varint};

use crate::seeds::{self, keys};
use crate::{Verdict, play};

/// What was read from a record comes back from its stored form, and every field that says something is in that: a value
/// has one meaning, and nothing is dropped. Fields with the tags `nested` are records themselves.
fn nothing_lost<T: PartialEq + Debug>(
    bytes: &[u8],
    parse: impl Fn(&[u8]) -> wire::Result<T>,
    encode: impl Fn(&T) -> Vec<u8>,
    nested: &[u64],
) -> Verdict {
    let Ok(value) = parse(bytes) else { return Verdict::Refused };
    let again = encode(&value);
    assert_eq!(parse(&again), Ok(value), "stored, and read as something else");
    assert_kept(bytes, &again, nested);
    Verdict::Accepted
}

fn assert_kept(bytes: &[u8], again: &[u8], nested: &[u64]) {
    let fields = |bytes| Fields::new(bytes, "fuzz").collect::<wire::Result<Vec<_>>>();
    let (Ok(before), Ok(after)) = (fields(bytes), fields(again)) else { panic!("a record that is none") };
    let is_nested = |tag: u64| nested.contains(&tag);
    for field in before.iter().filter(|field| !is_nested(field.tag)) {
        // Zero and nothing are what a field means that is not there.
        let says_nothing = field.value.iter().all(|byte| *byte == 0);
        let is_kept = after.iter().any(|other| (other.tag, other.value) == (field.tag, field.value));
        assert!(says_nothing || is_kept, "field {} is stored as something else: {:x?}", field.tag >> 1, field.value);
    }
    let inner = |all: &[Field<'_>]| -> Vec<Vec<u8>> {
        all.iter().filter(|field| is_nested(field.tag)).map(|field| field.value.to_vec()).collect()
    };
    let (before, after) = (inner(&before), inner(&after));
    assert_eq!(before.len(), after.len());
    before.iter().zip(&after).for_each(|(before, after)| assert_kept(before, after, &[]));
}

/// What was read must be stored as the bytes that it was read from.
fn one_spelling<T>(bytes: &[u8], parsed: wire::Result<T>, encode: impl FnOnce(&T) -> Vec<u8>) -> Verdict {
    match parsed {
        Ok(value) => {
            assert_eq!(encode(&value), bytes, "read, and stored in another spelling");
            Verdict::Accepted
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Verdict::Refused
        }
    }
}

/// Numbers and byte strings, in turn, then the same bytes as a record.
pub fn wire(bytes: &[u8]) -> Verdict {
    let mut reader = Reader::new(bytes, "fuzz");
    let mut again = Vec::new();
    let whole = loop {
        if reader.is_empty() {
            break true;
        }
        let before = reader.remaining();
        let mut one = || -> wire::Result<()> {
            put_varint(&mut again, reader.varint()?);
            put_signed(&mut again, reader.signed()?);
            put_prefixed(&mut again, reader.prefixed()?);
            Ok(())
        };
        if one().is_err() {
            break false;
        }
        assert!(reader.remaining() < before);
    };
    assert!(bytes.starts_with(&again) || !whole);
    assert!(!whole || again == bytes);
    let fields = Fields::new(bytes, "fuzz").collect::<wire::Result<Vec<_>>>();
    one_spelling(bytes, fields, |fields| {
        let mut record = Record::default();
        for field in fields {
            record.bytes(field.tag, field.value);
        }
        record.finish()
    })
}

/// The fixed part of every object.
pub fn header(bytes: &[u8]) -> Verdict {
    let Some(kind) = bytes.first().and_then(|number| seeds::KINDS.get(usize::from(*number))) else {
        return Verdict::Refused;
    };
    let bytes = &bytes[1..];
    match Header::parse(bytes, *kind) {
        Ok(header) => {
            assert_eq!(header.encode(), bytes[..HEADER_BYTES]);
            Verdict::Accepted
        }
        Err(_) => Verdict::Refused,
    }
}

/// An object of sealed sections; the keys are those that the seeds were sealed with.
pub fn object(bytes: &[u8]) -> Verdict {
    let keys = keys();
    let Ok((header, sections)) = sections(bytes, ObjectKind::Snapshot) else { return Verdict::Refused };
    let opened: Vec<_> = sections.iter().map(|section| open_section(&keys, &header, section)).collect();
    for plain in opened.iter().flatten() {
        assert!(seeds::SECTIONS.contains(&plain.as_slice()), "a section was opened that was never sealed");
    }
    Verdict::accepted_if(opened.iter().all(Result::is_ok))
}

/// The configuration; its checksum is made right.
pub fn config(bytes: &[u8]) -> Verdict {
    let identity = &keys().identity;
    let stored = add_check(bytes.to_vec());
    match Config::parse(&stored) {
        Ok(config) => {
            let again = config.encode(identity);
            assert!(Config::verify(&again, identity) && Config::parse(&again) == Ok(config.clone()));
            assert!(again == stored || !Config::verify(&stored, identity), "a forged configuration");
            let record = |stored: &[u8]| stored[HEADER_BYTES..stored.len() - 64].to_vec();
            assert_kept(&record(&stored), &record(&again), &[]);
            assert_eq!(Params::parse(&config.chunker.encode()), Ok(config.chunker));
            Verdict::Accepted
        }
        Err(_) => Verdict::Refused,
    }
}

/// A key slot, and what is in it.
pub fn key_slot(bytes: &[u8]) -> Verdict {
    let Ok(slot) = Slot::parse(bytes) else { return Verdict::Refused };
    if let Some(key) = SlotLock::KeyFile.key(&seeds::SLOT_SECRET) {
        let opened = slot.is_opened_by(&key).then(|| slot.unlock(&key).ok()).flatten();
        let label = slot.label(&keys());
        assert!(opened.is_none_or(|opened| opened.expose() == keys().expose()));
        assert!(label.is_none_or(|label| label == seeds::label()));
    }
    let again = slot.encode();
    assert_eq!(Slot::parse(&again), Ok(slot));
    assert_kept(&bytes[HEADER_BYTES..], &again[HEADER_BYTES..], &[]);
    Verdict::Accepted
}

/// The line in a key file.
pub fn key_file(bytes: &[u8]) -> Verdict {
    match keyfile::parse(bytes) {
        Ok(key) => {
            let line = [b"LARDER-KEY-1-", data_encoding::HEXLOWER.encode(key.as_ref()).as_bytes()].concat();
            assert!(line.eq_ignore_ascii_case(bytes.trim_ascii()));
            Verdict::Accepted
        }
        Err(_) => Verdict::Refused,
    }
}

/// The end of a pack, behind eight bytes that say how long the pack is.
pub fn trailer(bytes: &[u8]) -> Verdict {
    let Some((size, bytes)) = bytes.split_first_chunk::<8>() else { return Verdict::Refused };
    let size = u64::from_le_bytes(*size);
    match Trailer::parse(bytes, size) {
        Ok(trailer) => {
            let end = u64::from(trailer.table_offset) + u64::from(trailer.table_len);
            assert!(trailer.table_offset as usize >= HEAD_BYTES && end < size);
            let numbers = [trailer.table_offset, trailer.table_len, trailer.frames].map(u32::to_le_bytes);
            assert_eq!([numbers.as_flattened(), b"KCAP"].concat(), bytes);
            Verdict::Accepted
        }
        Err(_) => Verdict::Refused,
    }
}

/// A pack, or another object, that is not what it was: what is called mended is what the name says, and of nothing else.
pub fn parity(bytes: &[u8]) -> Verdict {
    let tried = std::cell::Cell::new(0);
    let mended = larder::pack::mend(bytes, |pack| {
        tried.set(tried.get() + 1);
        assert!(pack.ends_with(b"KCAP"));
        pack.len() % 7 == tried.get() % 7
    });
    tried.set(0);
    larder::seal::mend_object(bytes, |object| {
        tried.set(tried.get() + 1);
        assert_eq!(object.len(), bytes.len());
        object.len() % 5 == tried.get() % 5
    });
    if mended.is_some() { Verdict::Accepted } else { Verdict::Refused }
}

/// The table of a pack.
pub fn table(bytes: &[u8]) -> Verdict {
    let table = Table::parse(Reader::new(bytes, "fuzz"));
    if let Ok(table) = &table {
        let frames: u64 = table.frames.iter().map(|frame| u64::from(frame.stored_len)).sum();
        assert_eq!(table.end(), HEAD_BYTES as u64 + frames);
    }
    one_spelling(bytes, table, |table| {
        let mut out = Vec::new();
        table.put(&mut out);
        out
    })
}

/// The body of a frame.
pub fn frame(bytes: &[u8]) -> Verdict {
    let (Ok(mut decompressor), Ok(mut compressor)) = (Decompressor::new(), Compressor::new(1)) else {
        panic!("no memory for zstd");
    };
    let Ok(frame) = FrameBytes::decode(bytes, &mut decompressor) else { return Verdict::Refused };
    if matches!(frame.stored(0), Some(Stored::Delta(_))) {
        return deltas(bytes, &frame);
    }
    assert!(frame.len() <= FRAME_BYTES_MAX);
    let chunks: Vec<_> = (0..frame.count()).filter_map(|n| frame.chunk(n)).collect();
    assert_eq!(chunks.len(), frame.count());
    assert_eq!(chunks.iter().map(|chunk| chunk.len()).sum::<usize>(), frame.len());
    assert_eq!(frame.chunk(frame.count()), None);
    let identity: &Identity = &keys().identity;
    let kind = larder::crypto::ChunkKind::Data;
    let mut builder = FrameBuilder::new(kind);
    for chunk in &chunks {
        builder.push(identity.chunk_id(kind, chunk), chunk);
    }
    match builder.finish(Some(&mut compressor), &mut decompressor, identity) {
        Ok(again) => {
            let again = FrameBytes::decode(&again.body, &mut decompressor);
            assert!(again.is_ok_and(|again| (0..chunks.len()).all(|n| again.chunk(n) == Some(chunks[n]))));
        }
        Err(error) => panic!("a frame that was read cannot be stored: {error:?}"),
    }
    Verdict::Accepted
}

/// A frame of deltas: it can be stored again as it was read.
fn deltas(bytes: &[u8], frame: &FrameBytes) -> Verdict {
    let all = (0..frame.count()).map(|n| match frame.stored(n) {
        Some(Stored::Delta(stored)) => stored,
        _ => panic!("a chunk stored whole among deltas"),
    });
    let mut builder = DeltaFrameBuilder::new(larder::crypto::ChunkKind::Data);
    for stored in all {
        let chunk = ChunkInfo { id: ChunkPrefix::ZERO, raw_len: stored.raw_len, delta: stored.delta.clone() };
        builder.push(chunk, stored.payload());
    }
    assert!(builder.finish().is_some_and(|again| again.body == bytes));
    Verdict::Accepted
}

/// What stands for a chunk of 5000 bytes where two bases are there.
pub fn delta(bytes: &[u8]) -> Verdict {
    let Ok(mut decompressor) = Decompressor::new() else { panic!("no memory for zstd") };
    let [a, b] = crate::seeds::bases();
    let mut raw = Vec::new();
    match decode_delta(bytes, 5000, &[&a, &b], &mut decompressor, &mut raw) {
        Ok(()) => {
            assert_eq!(raw.len(), 5000);
            Verdict::Accepted
        }
        Err(_) => Verdict::Refused,
    }
}

/// An index object.
pub fn index(bytes: &[u8]) -> Verdict {
    nothing_lost(bytes, Index::parse, Index::encode, &[])
}

/// A node of a tree.
pub fn tree_node(bytes: &[u8]) -> Verdict {
    let Ok(node) = Node::parse(bytes) else { return Verdict::Refused };
    let keys: Vec<&[u8]> = match &node.items {
        NodeItems::Leaf(items) => items.iter().map(|(key, _)| key.as_slice()).collect(),
        NodeItems::Inner(items) => items.iter().map(|child| child.first.as_slice()).collect(),
    };
    assert_eq!(
        (node.level == 0, keys.first().copied()),
        (matches!(node.items, NodeItems::Leaf(_)), Some(node.first()))
    );
    assert!(keys.iter().all(|key| check_path(key).is_ok()));
    assert!(keys.is_sorted_by(|a, b| compare_paths(a, b).is_lt()));
    if let NodeItems::Leaf(items) = &node.items {
        play::a_tree_of(items);
    }
    Verdict::Accepted
}

/// A tree whose nodes say anything: walks end, bring no path twice, and agree with each other.
pub fn tree_walk(bytes: &[u8]) -> Verdict {
    play::hostile_tree(bytes)
}

/// A list of chunks.
pub fn chunk_list(bytes: &[u8]) -> Verdict {
    let list = ChunkList::parse(bytes);
    if let Ok(list) = &list {
        let sum: u128 = list.items.iter().map(|item| u128::from(item.len)).sum();
        assert_eq!(list.content_len().map(u128::from), (sum <= u128::from(u64::MAX)).then_some(sum));
    }
    one_spelling(bytes, list, ChunkList::encode)
}

/// What a leaf says of a path.
pub fn entry(bytes: &[u8]) -> Verdict {
    if let Ok(stored) = StoredEntry::parse(bytes) {
        if let Some(Large::Inline(inline)) = &stored.xattrs {
            xattrs(inline);
        }
        if let Some(Large::Inline(inline)) = &stored.extents {
            let _ = decode_extents(inline, stored.entry.size, &stored.entry.content);
        }
        if let Some(Large::Inline(inline)) = &stored.facts {
            database_facts(inline);
        }
    }
    nothing_lost(bytes, StoredEntry::parse, StoredEntry::encode, &[])
}

/// What is known of a database.
pub fn database_facts(bytes: &[u8]) -> Verdict {
    nothing_lost(bytes, Facts::parse, Facts::encode, &[])
}

/// Extended attributes.
pub fn xattrs(bytes: &[u8]) -> Verdict {
    one_spelling(bytes, decode_xattrs(bytes), |xattrs| encode_xattrs(xattrs))
}

/// The extents of a file, behind its size and the length of its content.
pub fn extents(bytes: &[u8]) -> Verdict {
    let Some((numbers, bytes)) = bytes.split_first_chunk::<16>() else { return Verdict::Refused };
    let [size, len] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|n| numbers[at + n])));
    let content = Content { level: 0, chunks: vec![ChunkRef { id: ChunkId::ZERO, len }] };
    let parsed = decode_extents(bytes, size, &content);
    if let Ok(extents) = &parsed {
        assert_eq!(extents.iter().map(|extent| extent.len).sum::<u64>(), len);
        assert!(extents.windows(2).all(|pair| pair[0].offset + pair[0].len < pair[1].offset));
        assert!(extents.last().is_none_or(|last| last.offset + last.len <= size));
    }
    one_spelling(bytes, parsed, |extents| encode_extents(extents))
}

/// Two paths, with a NUL between them.
pub fn path(bytes: &[u8]) -> Verdict {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (a, b) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    assert_eq!(compare_paths(a, b), compare_paths(b, a).reverse());
    if check_path(a).is_err() || check_path(b).is_err() {
        return Verdict::Refused;
    }
    assert_eq!(compare_paths(a, b).is_eq(), a == b);
    let parts = |path: &[u8]| -> Vec<Vec<u8>> {
        let all = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec);
        all.filter(|part| !part.is_empty()).collect()
    };
    assert_eq!(compare_paths(a, b), parts(a).cmp(&parts(b)), "the order is not that of the components");
    assert_eq!(is_below(a, b), parts(a).starts_with(&parts(b)));
    Verdict::Accepted
}

/// The summary of a snapshot.
pub fn snapshot_summary(bytes: &[u8]) -> Verdict {
    nothing_lost(bytes, Summary::parse, Summary::encode, &[])
}

/// The body of a snapshot.
pub fn snapshot_body(bytes: &[u8]) -> Verdict {
    nothing_lost(bytes, Body::parse, Body::encode, &[wire::critical(1)])
}

/// What a run says when it begins.
pub fn session(bytes: &[u8]) -> Verdict {
    nothing_lost(bytes, SessionRecord::parse, SessionRecord::encode, &[])
}

/// What a run says when it ends.
pub fn session_end(bytes: &[u8]) -> Verdict {
    nothing_lost(bytes, SessionEnd::parse, SessionEnd::encode, &[])
}

/// A note.
pub fn note(bytes: &[u8]) -> Verdict {
    // Drills and remarks are records.
    nothing_lost(bytes, Note::parse, Note::encode, &[2 * 4, 2 * 5])
}

/// A list of damaged frames.
pub fn damage(bytes: &[u8]) -> Verdict {
    nothing_lost(bytes, Damage::parse, Damage::encode, &[])
}

/// A list of condemned packs.
pub fn tomb(bytes: &[u8]) -> Verdict {
    nothing_lost(bytes, Tomb::parse, Tomb::encode, &[])
}

/// An address as a user types it.
pub fn address(bytes: &[u8]) -> Verdict {
    let zone = jiff::tz::TimeZone::UTC;
    let Ok(address) = Address::parse(OsStr::from_bytes(bytes), &zone) else { return Verdict::Refused };
    if let When::Id(id) = &address.when {
        assert!((4..=64).contains(&id.len()) && bytes.starts_with(id.as_bytes()));
    }
    assert!(address.rest.as_ref().is_none_or(|rest| !rest.is_empty()));
    for names in [&["docs"][..], &["docs", "etc"], &[]] {
        let series = address.series(names);
        assert!(series.is_none_or(|name| names.contains(&name)));
        match Meant::find(address.rest.as_deref(), names) {
            Ok(Meant::Source { name, path }) => {
                assert!(names.contains(&name));
                assert!(path.split(|byte| *byte == b'/').all(|part| part != b".." && part != b"."));
                assert!(!path.starts_with(b"/") && !path.ends_with(b"/"));
            }
            Ok(Meant::All) => assert_eq!(address.rest, None),
            Err(error) => assert!(!error.what().is_empty()),
        }
    }
    Verdict::Accepted
}

/// The first bytes of a file that may be a database. Nothing is stored of it; what is accepted must be what its engine
/// would take.
pub fn sqlite_header(bytes: &[u8]) -> Verdict {
    let Some(header) = sqlite::sniff(bytes) else { return Verdict::Refused };
    assert!(bytes.starts_with(b"SQLite format 3\0") && bytes.len() >= sqlite::HEADER_BYTES);
    assert!(header.page_bytes.is_power_of_two() && (512..=65536).contains(&header.page_bytes));
    assert_eq!(sqlite::sniff(&bytes[..sqlite::HEADER_BYTES]), Some(header));
    Verdict::Accepted
}

/// A whole database, as its pages are scanned: in whatever order, and whether they are looked at or recalled, it is well
/// and has so many rows, or it is not.
pub fn sqlite_pages(bytes: &[u8]) -> Verdict {
    let Some(header) = sqlite::sniff(bytes) else { return Verdict::Refused };
    let size = header.page_bytes as usize;
    let pages = bytes.len() / size;
    let image = &bytes[..pages * size];
    let new = || {
        let mut scan = sqlite::Scan::new(bytes, pages as u32)?;
        let read = |page: u32, out: &mut [u8]| -> Result<(), ()> {
            out.copy_from_slice(&image[(page as usize - 1) * size..][..size]);
            Ok(())
        };
        assert_eq!(scan.free_list(read), Ok(()));
        // Behind the first map of pointers, where there are such.
        scan.roots(Some(&[(if bytes[55] == 3 { 3 } else { 2 }, false)]));
        Some(scan)
    };
    let (Some(all), Some(one_by_one), Some(recalled)) = (new(), new(), new()) else { return Verdict::Refused };
    all.look(0, image);
    for (n, page) in image.chunks(size).enumerate().rev() {
        let kept = one_by_one.look((n * size) as u64, page);
        if !recalled.recall(&kept) {
            recalled.look((n * size) as u64, page);
        }
    }
    let rows = all.rows();
    assert_eq!((one_by_one.rows(), recalled.rows()), (rows.clone(), rows.clone()));
    // Whatever stands in the place of what was kept.
    recalled.recall(&bytes[100..]);
    recalled.rows();
    Verdict::accepted_if(rows.is_some())
}

/// Builds trees and packs as the bytes say, and reads them back.
pub fn play_operations(bytes: &[u8]) -> Verdict {
    play::operations(bytes)
}
