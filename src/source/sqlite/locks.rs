//! Who holds locks on a file, from the table that the system keeps.

use std::fs;

use crate::text;

/// The processes that hold locks on one file, by the text of `/proc/locks`; 0 or less where the system does not tell.
/// Lines that make no sense are passed over.
pub(super) fn holders(table: &[u8], dev: u64, ino: u64) -> Vec<i64> {
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    let file = format!("{major:02x}:{minor:02x}:{ino}");
    let mut out = Vec::new();
    for line in table.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        // "1: POSIX  ADVISORY  WRITE 3548 08:01:1234 1073741826 1073742335"; those who wait have an arrow.
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, kind, _, _, pid, of, ..] = words[..] else { continue };
        if kind != "->" && of == file {
            out.extend(pid.parse::<i64>().ok());
        }
    }
    out
}

/// The first of them, in words for people: "process 3548 (firefox)".
pub(super) fn name(holders: &[i64]) -> Option<String> {
    let pid = holders.iter().find(|pid| **pid > 0)?;
    let command = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(match text::escape(command.trim_ascii()) {
        name if name.is_empty() => format!("process {pid}"),
        name => format!("process {pid} ({name})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_read_from_the_table() {
        let table = b"1: POSIX  ADVISORY  READ  3548 fd:10:1234 1073741826 1073742335\n\
            2: OFDLCK ADVISORY  WRITE -1 fd:10:1234 0 EOF\n\
            2: -> POSIX  ADVISORY  WRITE 99 fd:10:1234 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE 7 fd:10:12345 0 EOF\n\xff\n4: POSIX\n";
        let dev = rustix::fs::makedev(0xfd, 0x10);
        let found = holders(table, dev, 1234);
        assert_eq!(found, [3548, -1]);
        assert!(holders(table, dev, 99).is_empty() && holders(b"", dev, 1234).is_empty());
        assert_eq!(name(&found[1..]), None);
        assert!(name(&[std::process::id().into()]).unwrap().starts_with(&format!("process {} (", std::process::id())));
        assert_eq!(name(&[i64::MAX]).unwrap(), format!("process {}", i64::MAX));
    }
}
