//! docs/format.md: its examples are computed here with bare ciphers and hashes, apart from the program's own code,
//! and compared with what the program does; its lists of purposes and limits are those of the source.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};

use larder::chunk::{CHUNK_BYTES_MAX, Cutter, Params};
use larder::crypto::{Audience, ChunkKind, Secret};
use larder::seal::{HEADER_BYTES, ObjectKind};
use larder::wire::{put_signed, put_varint};

use super::objects::{header, keys, object_id, tomb};
use super::{golden, renewing};

fn document() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/format.md"))
}

/// Puts this text between the marks in the document, or compares it with what is there.
fn in_document(mark: &str, text: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    let document = document();
    let whole = fs::read_to_string(&document).unwrap();
    let (begin, end) = (format!("<!-- {mark}: begin -->\n"), format!("<!-- {mark}: end -->"));
    let from = whole.find(&begin).unwrap() + begin.len();
    let to = whole.find(&end).unwrap();
    let text = format!("```\n{text}```\n");
    if renewing() {
        fs::write(document, [&whole[..from], &text, &whole[to..]].concat()).unwrap();
    } else {
        assert_eq!(whole[from..to], text, "docs/format.md, {mark}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn derive(secret: &[u8; 32], purpose: &str, context: &[u8]) -> [u8; 32] {
    blake3::derive_key(purpose, &[secret, context].concat())
}

fn seal(key: &[u8; 32], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    ChaCha20Poly1305::new(key.into()).encrypt(&Nonce::default(), Payload { msg, aad }).unwrap()
}

/// Root, and the secret of epoch 2.
fn secrets() -> ([u8; 32], [u8; 32]) {
    (std::array::from_fn(|i| i as u8), std::array::from_fn(|i| 0x80 + i as u8))
}

#[test]
fn the_vectors_are_right() {
    let (root, epoch) = secrets();
    let keys = keys();
    let mut out = String::new();
    let mut tell = |what: &str, value: &str| {
        out.push_str(format!("{what:<52}{value}").trim_end());
        out.push('\n');
    };

    for kind in ChunkKind::ALL {
        let key = derive(&root, "larder v1 chunk id", &[kind as u8]);
        let id = blake3::keyed_hash(&key, b"hello");
        assert_eq!(id.as_bytes(), keys.identity.chunk_id(kind, b"hello").as_bytes());
        tell(&format!("id of the chunk \"hello\", kind {}", kind as u8), id.to_hex().as_str());
    }
    let chunker = derive(&root, "larder v1 chunker", b"");
    let mut gear = [0; 2048];
    blake3::Hasher::new_derive_key("larder v1 gear table").update(&chunker).finalize_xof().fill(&mut gear);
    let gear: Vec<u64> = gear.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    tell("gear[0], gear[255]", &format!("{} {}", gear[0], gear[255]));
    let mut stream = vec![0; 3 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut stream);
    let lens = cut_as_documented(&stream, Params::FILES, &gear);
    assert_eq!(lens, cut_by_the_program(&stream, Params::FILES, &chunker));
    let lens: Vec<String> = lens.iter().map(|len| len.to_string()).collect();
    tell("chunks of 3 MiB of XOF of the BLAKE3 of nothing,", "");
    tell("  min 131072, avg 262144, max 1048576", &lens[..5].join(" "));
    tell("", &lens[5..].join(" "));

    let boundary = derive(&root, "larder v1 boundary", b"");
    assert_eq!(boundary, *keys.identity.boundary.expose());
    tell("keyed(boundary key, \"a/b\")", &hex(blake3::keyed_hash(&boundary, b"a/b").as_bytes()));
    let links = derive(&root, "larder v1 hard links", b"");
    assert_eq!(links, *keys.identity.links.expose());
    tell("hard-link group of \"a/b\"", &hex(&blake3::keyed_hash(&links, b"a/b").as_bytes()[..16]));
    let config = derive(&root, "larder v1 config", b"");
    assert_eq!(config, *keys.identity.config.expose());
    tell("configuration key", &hex(&config));
    for audience in Audience::ALL {
        let key = derive(&epoch, "larder v1 audience", &[audience as u8]);
        assert_eq!(key, *keys.epoch_keys(2).unwrap().audience(audience).expose());
        tell(&format!("audience key {} of the epoch", audience as u8), &hex(&key));
    }
    let file = derive(&[0x77; 32], "larder v1 key file", b"");
    tell("key of a key file with 32 bytes of 0x77", &hex(&file));
    let commitment = derive(&file, "larder v1 key commitment", b"");
    assert_eq!(commitment, Secret::new(file).commitment());
    tell("its commitment, were it a bundle key", &hex(&commitment));
    for (what, seconds, nanos) in [("-1 s and 1 ns", -1, 1), ("1790000000.000000005", 1_790_000_000, 5)] {
        let mut time = Vec::new();
        put_signed(&mut time, seconds);
        put_varint(&mut time, nanos);
        tell(&format!("time {what}"), &hex(&time));
    }
    in_document("vectors", &out);
}

/// The algorithm of chapter 9.1, byte by byte.
fn cut_as_documented(data: &[u8], params: Params, gear: &[u64]) -> Vec<usize> {
    let Params { min, avg, max } = params;
    let bits = avg.trailing_zeros();
    let mask = |n: u32| ((1u64 << n) - 1) << (63 - n);
    let (strict, loose) = (mask(bits + 2), mask(bits - 2));
    let one = |data: &[u8]| -> usize {
        if data.len() <= min {
            return data.len();
        }
        let n = data.len().min(max);
        let mut h = 0u64;
        for (i, byte) in data.iter().enumerate().take(n - n % 2).skip(min) {
            h = h.wrapping_mul(2).wrapping_add(gear[usize::from(*byte)]);
            if h & (if i < avg { strict } else { loose }) == 0 {
                return i;
            }
        }
        n
    };
    let (mut out, mut rest) = (Vec::new(), data);
    while !rest.is_empty() {
        let len = one(rest);
        out.push(len);
        rest = &rest[len..];
    }
    out
}

fn cut_by_the_program(data: &[u8], params: Params, chunker: &[u8; 32]) -> Vec<usize> {
    let cutter = Cutter::new(&Secret::new(*chunker), params);
    let (mut out, mut rest) = (Vec::new(), data);
    while !rest.is_empty() {
        let len = cutter.cut(rest);
        out.push(len);
        rest = &rest[len..];
    }
    out
}

#[test]
fn the_documented_cuts_are_the_programs_whatever_the_length() {
    let chunker = [9; 32];
    let mut gear = [0; 2048];
    blake3::Hasher::new_derive_key("larder v1 gear table").update(&chunker).finalize_xof().fill(&mut gear);
    let gear: Vec<u64> = gear.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let mut data = vec![0; 200_001];
    blake3::Hasher::new().finalize_xof().fill(&mut data);
    for params in [
        Params { min: 64, avg: 4096, max: 4096 },
        Params { min: 64, avg: 4096, max: 6002 },
        Params { min: 2048, avg: 4096, max: 32768 },
    ] {
        for len in (0..9000).step_by(7).chain([200_000, 200_001]) {
            let expected = cut_as_documented(&data[..len], params, &gear);
            assert_eq!(cut_by_the_program(&data[..len], params, &chunker), expected, "{params:?} {len}");
        }
    }
}

#[test]
fn the_example_is_a_golden_object() {
    let (_, epoch) = secrets();
    let head = header(ObjectKind::Tomb).encode();
    let audience_key = derive(&epoch, "larder v1 audience", &[3]);
    let wrap_key = derive(&audience_key, "larder v1 wrap", &head);
    let commitment = derive(&wrap_key, "larder v1 key commitment", b"");
    let session = [3; 32];
    let section_key = derive(&session, "larder v1 section", &[&head[..], &[0]].concat());
    let plain = [&[0][..], &[3, 32], object_id("pack").as_bytes()].concat();
    assert_eq!(plain[1..], tomb().encode());
    let sealed = seal(&section_key, &[3], &plain);

    let parts: Vec<(Vec<u8>, &str)> = vec![
        (head[..4].to_vec(), "magic \"LRDR\""),
        (head[4..5].to_vec(), "kind 8: tomb"),
        (head[5..8].to_vec(), "version 1, suite 1, flags 0"),
        (head[8..12].to_vec(), "epoch 2"),
        (head[12..16].to_vec(), "zero"),
        (head[16..32].to_vec(), "repository id"),
        (head[32..48].to_vec(), "session id"),
        (head[48..64].to_vec(), "no author"),
        (head[64..HEADER_BYTES].to_vec(), "salt"),
        (vec![3], "section 0, audience 3: index"),
        (vec![1, 80, 0], "wrap of kind 1, 80 bytes"),
        (commitment.to_vec(), "commitment of the wrap key"),
        (seal(&wrap_key, &head, &session), "session's index secret, sealed: 32 + 16 bytes"),
        ((sealed.len() as u32).to_le_bytes().to_vec(), "51 bytes of section follow"),
        (sealed.clone(), "the section, sealed: 35 + 16 bytes"),
    ];
    let whole: Vec<u8> = parts.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    assert_eq!(fs::read(golden("objects/tomb")).unwrap(), whole);

    let mut out = String::new();
    let mut at = 0;
    for (bytes, what) in &parts {
        for (n, line) in bytes.chunks(16).enumerate() {
            let what = if n == 0 { *what } else { "" };
            let _ = writeln!(out, "{:>4}  {:<32}  {what}", at + 16 * n, hex(line));
            if what.is_empty() {
                out.truncate(out.trim_end().len());
                out.push('\n');
            }
        }
        at += bytes.len();
    }
    let mut tell = |what: &str, value: &[u8]| _ = writeln!(out, "{what:<14}{}", hex(value));
    tell("\naudience key", &audience_key);
    tell("wrap key", &wrap_key);
    tell("section key", &section_key);
    tell("plain", &plain);
    let _ = writeln!(out, "{:<14}00 not compressed, 03 field 1 critical, 20 length 32, then the pack's name", "");
    let _ = writeln!(out, "\nname of the object: {}", blake3::hash(&whole).to_hex());
    in_document("example", &out);
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, out),
            false => out.push(path),
        }
    }
}

/// Everything in this text that begins like a purpose, up to the quote or backtick that ends it.
fn purposes(text: &str) -> BTreeSet<String> {
    let ends = ['"', '`'];
    text.split(ends).filter(|part| part.starts_with("larder v1 ")).map(str::to_owned).collect()
}

#[test]
fn every_purpose_of_a_key_is_documented_and_no_other() {
    let mut files = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    let used: BTreeSet<String> = files.iter().flat_map(|file| purposes(&fs::read_to_string(file).unwrap())).collect();
    assert!(used.len() > 10);
    let whole = fs::read_to_string(document()).unwrap();
    let (_, rest) = whole.split_once("### All derivations").unwrap();
    let (table, _) = rest.split_once("###").unwrap();
    assert_eq!(purposes(table), used);
}

#[test]
fn limits_are_the_programs() {
    let whole = fs::read_to_string(document()).unwrap();
    let (_, rest) = whole.split_once("\n## 13 Limits").unwrap();
    let (limits, _) = rest.split_once("\n## ").unwrap();
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let grouped = |n: usize| format!("{} {:03}", n / 1000, n % 1000);
    let expected = [
        ("chunk, plaintext of a frame", mib(CHUNK_BYTES_MAX)),
        ("chunk, plaintext of a frame", mib(larder::pack::FRAME_BYTES_MAX)),
        ("chunks in a frame", grouped(larder::pack::FRAME_CHUNKS_MAX)),
        ("pack", mib(larder::pack::PACK_BYTES_MAX as usize)),
        ("node", format!("{} KiB", larder::tree::NODE_BYTES_MAX >> 10)),
        (
            "path",
            format!("{} bytes, {} components", grouped(larder::entry::PATH_BYTES_MAX), larder::entry::PATH_DEPTH_MAX),
        ),
        ("index objects replaced by one", larder::index::SUPERSEDES_MAX.to_string()),
        ("bases of a delta, its slices", format!("{}, {}", larder::pack::BASES_MAX, larder::pack::SLICES_MAX)),
        (
            "chunks that one delta takes, their bytes",
            format!("{}, {}", larder::repo::CLOSURE_CHUNKS_MAX, mib(larder::repo::CLOSURE_BYTES_MAX)),
        ),
        ("dictionary of a delta", mib(larder::pack::DICTIONARY_BYTES_MAX)),
    ];
    for (what, value) in expected {
        let line = format!("| {what} | {value} |");
        assert!(limits.contains(&line), "{line}");
    }
}
