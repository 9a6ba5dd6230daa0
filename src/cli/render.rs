//! Failures and warnings, as people read them.

use super::paint::{Paint, Tone};
use crate::error::Error;
use crate::text::escape;

/// `error: WHAT`, `  why: …`, `  fix: …`; empty parts are left out. Ends with a line feed.
pub fn error(error: &Error, paint: Paint) -> String {
    let mut text = format!("{}: {}\n", paint.word(Tone::Bad, "error"), block(error.what(), 7));
    for (label, part) in [("why", error.reason()), ("fix", error.advice())] {
        if !part.is_empty() {
            text += &format!("  {label}: {}\n", block(part, 7));
        }
    }
    text
}

/// `warning: TEXT`, without a line feed.
pub fn warning(message: &str, paint: Paint) -> String {
    format!("{}: {}", paint.word(Tone::Warn, "warning"), block(message, 9))
}

/// A number with its thousands apart: "41 220".
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let groups = [&digits[..head]].into_iter().chain((head..digits.len()).step_by(3).map(|at| &digits[at..at + 3]));
    groups.filter(|group| !group.is_empty()).collect::<Vec<_>>().join(" ")
}

/// "1 pack", "41 220 packs".
pub fn counted(number: u64, word: &str) -> String {
    format!("{} {word}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// "1 entry", "41 220 entries".
pub fn entries(number: u64) -> String {
    if number == 1 { "1 entry".into() } else { format!("{} entries", grouped(number)) }
}

/// Text whose further lines stand under its first one. Names in it are escaped already; what the operating system or
/// another program said may not be, so that control characters are caught here once more.
fn block(text: &str, indent: usize) -> String {
    let lines: Vec<_> = text.trim_end().lines().map(|line| line.chars().map(visible).collect::<String>()).collect();
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

fn visible(c: char) -> String {
    if c == '\\' { c.to_string() } else { escape(c.encode_utf8(&mut [0; 4]).as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn errors_say_what_why_and_fix_and_nothing_else() {
        let full = Error::new(Kind::Failed, "cannot read a").why("denied").fix("chmod it");
        assert_eq!(error(&full, Paint::PLAIN), "error: cannot read a\n  why: denied\n  fix: chmod it\n");
        let bare = Error::new(Kind::Failed, "cannot read a");
        assert_eq!(error(&bare, Paint::PLAIN), "error: cannot read a\n");
        assert_eq!(error(&bare, Paint::COLOURED), "\x1b[31merror\x1b[0m: cannot read a\n");
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        let foreign = Error::new(Kind::Failed, "a\\x0ab").why("line one\nline \x1b[2Jtwo\r\n");
        assert_eq!(error(&foreign, Paint::PLAIN), "error: a\\x0ab\n  why: line one\n       line \\x1b[2Jtwo\n");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 41_220, 1_234_567].map(grouped), ["0", "999", "1 000", "41 220", "1 234 567"]);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 4000].map(|n| counted(n, "pack")), ["0 packs", "1 pack", "4 000 packs"]);
    }

    #[test]
    fn warnings_are_one_line_each() {
        assert_eq!(warning("a changed while it was read", Paint::PLAIN), "warning: a changed while it was read");
    }
}
