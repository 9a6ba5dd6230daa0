use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::entry::Time;

fn directory_entry() -> Entry {
    Entry { mode: 0o755, uid: uid(), gid: gid(), ..Entry::new(Kind::Directory) }
}

fn file_entry(size: usize) -> Entry {
    let mtime = Time { seconds: 1_234_567_890, nanos: 987_654_321 };
    Entry { mode: 0o640, uid: uid(), gid: gid(), size: size as u64, mtime, ..Entry::new(Kind::File) }
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn gid() -> u32 {
    rustix::process::getegid().as_raw()
}

fn write(folder: &Folder, path: &str, content: &[u8]) -> Result<()> {
    let file = folder.file(path.as_bytes(), &file_entry(content.len()))?;
    file.write_at(0, content)?;
    file.finish()
}

#[test]
fn a_new_folder_appears_only_when_it_is_complete() {
    let base = tempfile::tempdir().unwrap();
    let to = base.path().join("new/folder");
    let folder = Folder::create(&to, Existing::Refuse).unwrap();
    folder.directory(b"", &directory_entry()).unwrap();
    folder.directory(b"d", &Entry { mode: 0o500, ..directory_entry() }).unwrap();
    write(&folder, "d/f", b"content").unwrap();
    assert!(!to.exists());
    let report = folder.finish().unwrap();
    assert_eq!(report, Report { files: 1, directories: 2, ..Report::default() });
    assert_eq!(fs::read(to.join("d/f")).unwrap(), b"content");
    let file = fs::metadata(to.join("d/f")).unwrap();
    assert_eq!((file.mtime(), file.mtime_nsec()), (1_234_567_890, 987_654_321));
    assert_eq!(file.permissions().mode() & 0o7777, 0o640);
    assert_eq!(fs::metadata(to.join("d")).unwrap().permissions().mode() & 0o7777, 0o500);
    assert_eq!(fs::read_dir(base.path().join("new")).unwrap().count(), 1);
}
