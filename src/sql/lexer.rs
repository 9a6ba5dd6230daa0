//! SQL cut into tokens, as SQLite cuts it: enough to tell what a statement begins with, and whether an expression
//! stays within its brackets. Nothing is understood that the engine itself is not asked about afterwards.

/// A piece of SQL that is neither blank nor comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, a plain name or a number.
    Word(&'a str),
    /// Anything in quotes, with them.
    Quoted(&'a str),
    /// One byte of punctuation.
    Sign(u8),
    /// A quote or a comment that never ends, or a NUL, behind which the engine reads nothing.
    Broken,
}

impl Token<'_> {
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(text) if text.eq_ignore_ascii_case(word))
    }

    /// The name, without quotes.
    pub fn name(&self) -> Option<String> {
        match self {
            Token::Word(word) => Some((*word).to_owned()),
            Token::Quoted(text) => {
                let inner = text.get(1..text.len() - 1)?;
                match text.as_bytes()[0] {
                    b'[' => Some(inner.to_owned()),
                    quote => {
                        let quote = char::from(quote).to_string();
                        Some(inner.replace(&quote.repeat(2), &quote))
                    }
                }
            }
            _ => None,
        }
    }
}

/// The tokens of a text.
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub fn new(sql: &'a str) -> Self {
        Self { rest: sql }
    }

    /// What has not been cut yet.
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        // Ends lie behind an ASCII byte or at the end, so this never cuts a character; if it did, nothing is left.
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Leaves out what stands up to and with `end`; `None` if it never comes.
    fn skip(&mut self, from: usize, end: &str) -> Option<usize> {
        self.rest.get(from..)?.find(end).map(|at| from + at + end.len())
    }

    fn quoted(&mut self, quote: char) -> Token<'a> {
        let close = if quote == '[' { ']' } else { quote };
        let mut end = 1;
        loop {
            let Some(at) = self.rest.get(end..).and_then(|rest| rest.find(close)) else {
                self.rest = "";
                return Token::Broken;
            };
            end += at + 1;
            let is_doubled = quote != '[' && self.rest[end..].starts_with(close);
            if !is_doubled {
                return Token::Quoted(self.take(end));
            }
            end += 1;
        }
    }

    fn word(&mut self) -> Token<'a> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        Token::Word(self.take(end))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let first = self.rest.chars().next()?;
            let skipped = match first {
                ' ' | '\t' | '\n' | '\r' | '\x0c' => Some(1),
                '-' if self.rest.starts_with("--") => Some(self.skip(2, "\n").unwrap_or(self.rest.len())),
                '/' if self.rest.starts_with("/*") => match self.skip(2, "*/") {
                    Some(end) => Some(end),
                    None => {
                        self.rest = "";
                        return Some(Token::Broken);
                    }
                },
                _ => None,
            };
            if let Some(bytes) = skipped {
                self.take(bytes);
                continue;
            }
            return Some(match first {
                '\0' => {
                    self.rest = "";
                    Token::Broken
                }
                '\'' | '"' | '`' | '[' => self.quoted(first),
                c if c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() => self.word(),
                c => {
                    self.take(1);
                    Token::Sign(u8::try_from(c).unwrap_or(b'?'))
                }
            });
        }
    }
}

/// Why a text cannot stand in brackets as one expression; whether it is one is for the engine to say.
pub(super) fn why_not_one_expression(text: &str) -> Option<&'static str> {
    let (mut depth, mut count) = (0_u64, 0_u64);
    for token in Tokens::new(text) {
        count += 1;
        match token {
            Token::Broken => return Some("a quote or a comment in it does not end, or it holds a NUL"),
            Token::Sign(b';') => return Some("it holds a semicolon: it is one expression, not a statement"),
            Token::Sign(b'?' | b':' | b'@' | b'#' | b'$') => return Some("it holds a parameter, which has no value"),
            Token::Sign(b'(') => depth += 1,
            Token::Sign(b')') if depth == 0 => return Some("it closes a bracket that it did not open"),
            Token::Sign(b')') => depth -= 1,
            _ => {}
        }
    }
    match (depth, count) {
        (0, 0) => Some("it is empty"),
        (0, _) => None,
        _ => Some("it opens a bracket that it does not close"),
    }
}

/// Whether a statement out of a schema is only that. A trigger ends at `; END`, all others at the first semicolon.
pub(super) fn is_one_statement(sql: &str) -> bool {
    const END: Token<'_> = Token::Sign(b';');
    let tokens: Vec<Token<'_>> = Tokens::new(sql).collect();
    let is_trigger = tokens.iter().take(3).any(|token| token.is_word("trigger"));
    let ends = |at: &usize| {
        tokens[*at] == END && (!is_trigger || (*at >= 2 && tokens[*at - 1].is_word("end") && tokens[*at - 2] == END))
    };
    let end = (0..tokens.len()).find(ends).unwrap_or(tokens.len());
    !tokens.contains(&Token::Broken)
        && tokens.first().is_some_and(|token| token.is_word("create"))
        && tokens[end..].iter().all(|token| *token == END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_comments_are_no_tokens() {
        let found: Vec<_> = Tokens::new(" -- a\n select/*;*/ 'it''s', \"a\"\"b\", [x]`y`1.5é;").collect();
        let expected = [
            Token::Word("select"),
            Token::Quoted("'it''s'"),
            Token::Sign(b','),
            Token::Quoted("\"a\"\"b\""),
            Token::Sign(b','),
            Token::Quoted("[x]"),
            Token::Quoted("`y`"),
            Token::Word("1"),
            Token::Sign(b'.'),
            Token::Word("5é"),
            Token::Sign(b';'),
        ];
        assert_eq!(found, expected);
        assert_eq!(found[3].name().as_deref(), Some("a\"b"));
        assert_eq!(found[5].name().as_deref(), Some("x"));
    }

    #[test]
    fn what_does_not_end_is_broken() {
        for sql in ["'a", "\"a\"\"", "[", "/* ", "/*/", "\0", "`"] {
            assert_eq!(Tokens::new(sql).last(), Some(Token::Broken), "{sql:?}");
        }
        assert_eq!(Tokens::new("-- to the end").last(), None);
    }

    #[test]
    fn an_expression_stays_within_its_brackets() {
        let good = ["a = 1", "a IN (SELECT ')' FROM b)", "a = ';' -- ;)", "\"x;\" = [)] /* ( */"];
        for text in good {
            assert_eq!(why_not_one_expression(text), None, "{text}");
        }
        let bad = ["", "--", "1; DELETE", "1) OR (1", "(1", "'1", "1 /*", "a = ?", "a = :b", "a = $b", "1\0) --", "1)"];
        for text in bad {
            assert!(why_not_one_expression(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn a_schema_holds_one_statement_each() {
        let good = [
            "CREATE TABLE t(a DEFAULT ';')",
            "create index i on t(a);",
            "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; DELETE FROM t; END",
        ];
        for sql in good {
            assert!(is_one_statement(sql), "{sql}");
        }
        let bad = [
            "",
            "DROP TABLE t",
            "CREATE TABLE t(a); DROP TABLE u",
            "CREATE TABLE t(a) /*",
            "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END; DROP TABLE t; SELECT 1; END",
        ];
        for sql in bad {
            assert!(!is_one_statement(sql), "{sql}");
        }
    }
}
