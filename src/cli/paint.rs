//! Colour, for words that tell a state and for nothing else.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

/// How good a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Something is wrong.
    Bad,
}

/// Whether a stream gets colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// Never any colour.
    pub const PLAIN: Self = Self(false);
    /// Always colour.
    pub const COLOURED: Self = Self(true);

    /// For text on standard output.
    pub fn stdout() -> Self {
        Self::choose(|name| std::env::var_os(name), io::stdout().is_terminal())
    }

    /// For text on standard error.
    pub fn stderr() -> Self {
        Self::choose(|name| std::env::var_os(name), io::stderr().is_terminal())
    }

    /// `NO_COLOR` wins over `CLICOLOR_FORCE`, which wins over what the stream is.
    fn choose(variable: impl Fn(&str) -> Option<OsString>, is_terminal: bool) -> Self {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        if is_set("NO_COLOR") {
            return Self(false);
        }
        if is_set("CLICOLOR_FORCE") && variable("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
            return Self(true);
        }
        Self(is_terminal && variable("TERM").is_none_or(|term| term != "dumb"))
    }

    /// Whether there is colour.
    pub fn is_on(self) -> bool {
        self.0
    }

    /// The word in the colour of its tone.
    pub fn word(self, tone: Tone, word: &str) -> String {
        if !self.0 {
            return word.to_owned();
        }
        let colour = match tone {
            Tone::Good => 32,
            Tone::Warn => 33,
            Tone::Bad => 31,
        };
        format!("\x1b[{colour}m{word}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(set: &[(&str, &str)], is_terminal: bool) -> bool {
        let variable = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Paint::choose(variable, is_terminal).is_on()
    }

    #[test]
    fn colours_follow_the_conventions() {
        assert!(choose(&[], true) && !choose(&[], false));
        assert!(!choose(&[("NO_COLOR", "1")], true) && choose(&[("NO_COLOR", "")], true));
        assert!(choose(&[("CLICOLOR_FORCE", "1")], false) && !choose(&[("CLICOLOR_FORCE", "0")], false));
        assert!(!choose(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true));
        assert!(!choose(&[("TERM", "dumb")], true) && choose(&[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")], true));
    }

    #[test]
    fn plain_means_plain() {
        assert_eq!(Paint::PLAIN.word(Tone::Bad, "damaged"), "damaged");
        assert_eq!(Paint::COLOURED.word(Tone::Good, "ok"), "\x1b[32mok\x1b[0m");
    }
}
