//! Names and bytes made safe to print, the one way everything foreign reaches a terminal.

use std::fmt::Write;

/// Printable form of a raw name: control characters, bidirectional and invisible ones and invalid UTF-8 come as
/// `\xNN` or `\u{…}`, a backslash as `\\`, so that the text cannot steer a terminal and reads one way only.
pub fn escape(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for part in name.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if (c as u32) < 0x20 || (0x7f..0xa0).contains(&(c as u32)) => {
                    let _ = write!(out, "\\x{:02x}", c as u32);
                }
                c if is_invisible(c) => {
                    let _ = write!(out, "\\u{{{:x}}}", c as u32);
                }
                c => out.push(c),
            }
        }
        for b in part.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

/// What an engine said, made safe to print and put on one line: its lines, `; ` between them.
pub fn one_line(said: &[u8]) -> String {
    let lines = said.split(|b| matches!(b, b'\n' | b'\r')).map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines.map(escape).collect::<Vec<_>>().join("; ")
}

/// Characters that change the direction or look of what stands around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A path as escaped text.
pub fn path(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    escape(path.as_os_str().as_bytes())
}

/// The path as a word that a shell takes literally; `None` if it cannot be shown, and so not be copied, as it is.
pub fn shell_word(path: &std::path::Path) -> Option<String> {
    let plain = path.to_str()?;
    let is_shown = |c: char| c == '\\' || !(c.is_control() || is_invisible(c));
    plain.chars().all(is_shown).then(|| shell_words::quote(plain).into_owned())
}

/// A number of bytes in IEC units: "0 B", "1.2 KiB", "44 MiB".
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.5 and up would print as "1024".
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_lines_stands_on_one() {
        let said = b"*** in database main ***\r\nTree 2 page 2: \x1b[2J\n\n  Page 3\\\xff\n";
        assert_eq!(one_line(said), "*** in database main ***; Tree 2 page 2: \\x1b[2J; Page 3\\\\\\xff");
        assert_eq!((one_line(b"ok"), one_line(b"\n")), ("ok".into(), String::new()));
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(escape(b"plain \xc3\xa9"), "plain é");
        assert_eq!(escape(b"\x1b[2J\n\xff\\"), "\\x1b[2J\\x0a\\xff\\\\");
        assert_eq!(escape("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(escape("\u{9b}31m".as_bytes()), "\\x9b31m");
        let turning = ['\u{200e}', '\u{200f}', '\u{61c}'].into_iter();
        for c in turning.chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
            assert_eq!(escape(format!("a{c}b").as_bytes()), format!("a\\u{{{:x}}}b", c as u32));
        }
    }

    #[test]
    fn what_a_shell_is_to_take_can_be_copied() {
        let word = |text: &str| shell_word(text.as_ref());
        assert_eq!(word("/a/ünï").as_deref(), Some("/a/ünï"));
        assert_eq!(word("it's a\\b").as_deref(), Some("'it'\\''s a\\b'"));
        assert_eq!([word("a\nb"), word("a\u{202e}b"), word("\u{9b}")], [None, None, None]);
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(shell_word(std::ffi::OsStr::from_bytes(b"\xff").as_ref()), None);
    }

    #[test]
    fn sizes_read_well() {
        let shown: Vec<_> = [0, 1023, 1024, 10188, 10189, 1 << 20, (1 << 20) - 1, u64::MAX].map(size).into();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "9.9 KiB", "10 KiB", "1.0 MiB", "1.0 MiB", "16 EiB"]);
    }
}
