//! A folder of a snapshot as a tar archive, streamed.
//!
//! Headers are POSIX ones; what does not fit into them stands in PAX records before them: long names, nanoseconds and
//! times before 1970, large numbers, and extended attributes as `SCHILY.xattr.NAME`, as GNU tar and bsdtar do it.

use std::collections::HashMap;
use std::io::Write;

use tar::{EntryType, Header};

use super::cat::{cannot_write, content, stopped_in};
use super::list::found_at;
use super::restore::unreadable;
use crate::entry::{Entry, Kind as EntryKind};
use crate::error::Result;
use crate::event::Job;
use crate::record::SourceBody;
use crate::repo::{ChunkReader, EntryReader};
use crate::text;
use crate::tree::{Found, TreeWalk};

const BLOCK: usize = 512;
/// The largest numbers that fit into header fields of 12 and of 8 bytes.
const LONG_MAX: u64 = (1 << 33) - 1;
const SHORT_MAX: u64 = (1 << 21) - 1;

/// A part of a snapshot in the archive.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// The source.
    pub source: &'a SourceBody,
    /// What of it; empty: all.
    pub path: Vec<u8>,
    /// The folder of the archive that it goes into; empty: its root.
    pub into: Vec<u8>,
}

/// Writes an archive. Where something cannot be read, writing stops, and the archive has no end.
pub fn tar(reader: &ChunkReader<'_>, parts: &[Part<'_>], out: &mut dyn Write, job: Job<'_>) -> Result<()> {
    let mut archive = Archive { reader, out, job, links: HashMap::new() };
    for part in parts {
        archive.part(part)?;
    }
    archive.write(&[0; 2 * BLOCK])?;
    archive.out.flush().map_err(|e| cannot_write(&e))
}

struct Archive<'a> {
    reader: &'a ChunkReader<'a>,
    out: &'a mut dyn Write,
    job: Job<'a>,
    /// The first name of each group of hard links.
    links: HashMap<[u8; 16], Vec<u8>>,
}

impl Archive<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| cannot_write(&e))
    }

    fn part(&mut self, part: &Part<'_>) -> Result<()> {
        self.links.clear();
        let top = found_at(self.reader, part.source, &part.path)?;
        let entry = self.reader.entry(&top.record).map_err(|e| stopped_in(&top.path, &e))?;
        if entry.kind != EntryKind::Directory {
            let name = top.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
            return self.entry(&top, &joined(&part.into, name), entry);
        }
        let strip = if part.path.is_empty() { 0 } else { part.path.len() + 1 };
        for found in TreeWalk::below(self.reader, &part.source.root, &part.path) {
            self.job.cancel.check()?;
            let found = found.map_err(|e| unreadable(&e))?;
            let entry = self.reader.entry(&found.record).map_err(|e| stopped_in(&found.path, &e))?;
            let name = joined(&part.into, found.path.get(strip..).unwrap_or_default());
            self.entry(&found, &name, entry)?;
        }
        Ok(())
    }

    fn entry(&mut self, found: &Found, name: &[u8], entry: Entry) -> Result<()> {
        let mut head = Head::new(&entry);
        match entry.kind {
            EntryKind::Directory => {
                head.name = if name.is_empty() { b"./".to_vec() } else { [name, b"/"].concat() };
            }
            _ => head.name = name.to_vec(),
        }
        let is_link = self.link(&mut head, &entry, name);
        self.warn_about(&head, found);
        let bytes = head.encode();
        self.write(&bytes)?;
        if entry.kind == EntryKind::File && !is_link {
            content(self.reader, &found.path, &entry, self.out, self.job)?;
            let padding = (BLOCK - (entry.size % BLOCK as u64) as usize) % BLOCK;
            self.write(&[0; BLOCK][..padding])?;
        }
        self.job.advance(1, 0);
        Ok(())
    }

    /// Makes a further name of a file a link to the first; whether it is one.
    fn link(&mut self, head: &mut Head, entry: &Entry, name: &[u8]) -> bool {
        let Some(group) = entry.hard_link.filter(|_| entry.kind == EntryKind::File) else { return false };
        if let Some(first) = self.links.get(&group) {
            head.kind = EntryType::Link;
            head.link = first.clone();
            head.size = 0;
            return true;
        }
        self.links.insert(group, name.to_vec());
        false
    }

    fn warn_about(&self, head: &Head, found: &Found) {
        if head.xattrs_left_out > 0 {
            let name = text::escape(&found.path);
            self.job.warn(&format!("{name}: an attribute whose name is no text cannot stand in a tar archive"));
        }
    }
}

fn joined(into: &[u8], path: &[u8]) -> Vec<u8> {
    match (into.is_empty(), path.is_empty()) {
        (true, _) => path.to_vec(),
        (_, true) => into.to_vec(),
        _ => [into, path].join(&b'/'),
    }
}

/// What stands before a file's bytes.
struct Head {
    name: Vec<u8>,
    link: Vec<u8>,
    kind: EntryType,
    size: u64,
    header: Header,
    records: Vec<u8>,
    xattrs_left_out: u64,
}

impl Head {
    fn new(entry: &Entry) -> Self {
        let kind = match entry.kind {
            EntryKind::File => EntryType::Regular,
            EntryKind::Directory => EntryType::Directory,
            EntryKind::Symlink => EntryType::Symlink,
            EntryKind::Fifo => EntryType::Fifo,
            EntryKind::CharDevice => EntryType::Char,
            EntryKind::BlockDevice => EntryType::Block,
        };
        let (header, records) = (Header::new_ustar(), Vec::new());
        let (name, link, size) = (Vec::new(), entry.target.clone(), entry.size);
        let mut new = Self { name, link, kind, size, header, records, xattrs_left_out: 0 };
        new.header.set_mode(entry.mode);
        new.numbers(entry);
        new.times(entry);
        new.field(265, 32, "uname", &entry.user);
        new.field(297, 32, "gname", &entry.group);
        new.xattrs(entry);
        new
    }

    fn numbers(&mut self, entry: &Entry) {
        let (uid, gid) = (u64::from(entry.uid), u64::from(entry.gid));
        self.header.set_uid(uid.min(SHORT_MAX));
        self.header.set_gid(gid.min(SHORT_MAX));
        for (key, id) in [("uid", uid), ("gid", gid)] {
            if id > SHORT_MAX {
                self.record(key, id.to_string().as_bytes());
            }
        }
        // These fields are there in every POSIX header.
        let _ = self.header.set_device_major(entry.device.0.min(SHORT_MAX as u32));
        let _ = self.header.set_device_minor(entry.device.1.min(SHORT_MAX as u32));
    }

    fn times(&mut self, entry: &Entry) {
        let seconds = u64::try_from(entry.mtime.seconds).unwrap_or(0).min(LONG_MAX);
        self.header.set_mtime(seconds);
        if entry.mtime.nanos != 0 || i64::try_from(seconds) != Ok(entry.mtime.seconds) {
            self.record("mtime", decimal(entry.mtime).as_bytes());
        }
    }

    fn xattrs(&mut self, entry: &Entry) {
        for (name, value) in &entry.xattrs {
            match std::str::from_utf8(name) {
                Ok(name) => {
                    // An equals sign would end the keyword.
                    let name = name.replace('%', "%25").replace('=', "%3D");
                    self.record(&format!("SCHILY.xattr.{name}"), value);
                }
                Err(_) => self.xattrs_left_out += 1,
            }
        }
    }

    /// Text in the header, and in a record if there is no room for it.
    fn field(&mut self, at: usize, len: usize, key: &str, value: &[u8]) {
        let fits = value.len().min(len);
        self.header.as_mut_bytes()[at..at + fits].copy_from_slice(&value[..fits]);
        if value.len() > len {
            self.record(key, value);
        }
    }

    /// Adds `LENGTH KEY=VALUE\n`, where the length counts its own digits.
    fn record(&mut self, key: &str, value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while len != rest + len.to_string().len() {
            len = rest + len.to_string().len();
        }
        self.records.extend_from_slice(format!("{len} {key}=").as_bytes());
        self.records.extend_from_slice(value);
        self.records.push(b'\n');
    }

    fn encode(mut self) -> Vec<u8> {
        let (name, link) = (std::mem::take(&mut self.name), std::mem::take(&mut self.link));
        self.field(0, 100, "path", &name);
        self.field(157, 100, "linkpath", &link);
        if self.size > LONG_MAX {
            self.record("size", self.size.to_string().as_bytes());
        }
        self.header.set_size(self.size.min(LONG_MAX));
        self.header.set_entry_type(self.kind);
        self.header.set_cksum();
        let mut out = Vec::new();
        if !self.records.is_empty() {
            out.extend_from_slice(extended(self.records.len()).as_bytes());
            out.extend_from_slice(&self.records);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.extend_from_slice(self.header.as_bytes());
        out
    }
}

/// The header of PAX records.
fn extended(len: usize) -> Header {
    let mut header = Header::new_ustar();
    let name = b"./PaxHeaders/entry";
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(len as u64);
    header.set_cksum();
    header
}

/// Seconds with a fraction, as PAX writes times.
fn decimal(time: crate::entry::Time) -> String {
    let nanos = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, rest) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    let text = format!("{sign}{seconds}.{rest:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::testing::{Store, noise};
    use super::*;
    use crate::entry::Time;
    use crate::error::Kind;

    fn archive(store: &Store, path: &str, into: &str) -> (Vec<u8>, Result<()>) {
        let mut out = Vec::new();
        let result = store.with_reader(|reader, snapshot| {
            let source = &snapshot.body.sources[0];
            let part = Part { source, path: path.into(), into: into.into() };
            tar(reader, &[part], &mut out, store.job())
        });
        (out, result)
    }

    /// Name, type, link and bytes of everything in it.
    fn unpacked(bytes: &[u8]) -> Vec<(String, EntryType, String, Vec<u8>)> {
        let mut archive = ::tar::Archive::new(bytes);
        let one = |entry: std::io::Result<::tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let link = entry.link_name_bytes().map(|l| String::from_utf8(l.into_owned()).unwrap()).unwrap_or_default();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (name, entry.header().entry_type(), link, content)
        };
        archive.entries().unwrap().map(one).collect()
    }

    #[test]
    fn a_folder_comes_back_with_long_names_links_and_holes() {
        let store = Store::new();
        let long = format!("d/{}/{}", "x".repeat(120), "y".repeat(200));
        store.file("d/a", b"abc");
        store.file(&long, b"long");
        store.sparse("d/hole", 5000, &[(4096, b"end")]);
        std::fs::hard_link(store.path("d/a"), store.path("d/b")).unwrap();
        std::os::unix::fs::symlink("z".repeat(150), store.path("d/link")).unwrap();
        store.backup();
        let (bytes, result) = archive(&store, "d", "");
        result.unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        let found = unpacked(&bytes);
        let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        let folder = format!("{}/", "x".repeat(120));
        assert_eq!(names, ["./", "a", "b", "hole", "link", folder.as_str(), &long[2..]]);
        assert_eq!((found[1].3.as_slice(), found[2].1, found[2].2.as_str()), (&b"abc"[..], EntryType::Link, "a"));
        assert!(
            found[3].3.len() == 5000 && found[3].3.starts_with(&[0; 4096]) && found[3].3[4096..].starts_with(b"end")
        );
        assert_eq!((found[4].1, found[4].2.len()), (EntryType::Symlink, 150));
        assert_eq!(found[6].3, b"long");
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        let store = Store::new();
        store.file("f", b"abc");
        let file = std::fs::File::options().write(true).open(store.path("f")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789)).unwrap();
        store.backup();
        let bytes = archive(&store, "f", "in/to").0;
        let mut archive = ::tar::Archive::new(bytes.as_slice());
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(&*entry.path_bytes(), b"in/to/f");
        let records = entry.pax_extensions().unwrap().unwrap();
        let records: Vec<_> = records.map(|r| r.unwrap()).map(|r| (r.key().unwrap(), r.value().unwrap())).collect();
        assert_eq!(records, [("mtime", "1000000000.123456789")]);
    }

    #[test]
    fn times_before_1970_count_backwards() {
        let at = |seconds, nanos| decimal(Time { seconds, nanos });
        assert_eq!(
            [at(-1, 500_000_000), at(-2, 250_000_000), at(5, 0), at(0, 1)],
            ["-0.5", "-1.75", "5", "0.000000001"]
        );
    }

    #[test]
    fn records_count_their_own_length() {
        for count in [1, 85, 86, 87, 88, 89, 90, 985, 986, 987, 988, 989, 9999] {
            let mut head = Head::new(&Entry::new(EntryKind::File));
            head.record("k", &vec![b'v'; count]);
            let text = String::from_utf8(head.records).unwrap();
            assert!(text.starts_with(&format!("{} k=v", text.len())), "{count}");
        }
    }

    #[test]
    fn damage_leaves_an_archive_without_an_end() {
        let store = Store::new();
        store.file("a", b"first");
        store.file("big", &noise(24 << 20));
        store.backup();
        store.lose_data();
        let (bytes, result) = archive(&store, "", "");
        let error = result.unwrap_err();
        assert!(error.kind() == Kind::Damage && error.what().contains("big"), "{error}");
        assert!(!bytes.ends_with(&[0; 2 * BLOCK]));
    }
}
