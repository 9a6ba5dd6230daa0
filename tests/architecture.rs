//! The house keeps its shape: imports run one way, and each of a few powers has one room. docs/architecture.md draws
//! the picture; here it is enforced, on the text of the source alone.
//!
//! What is compiled for tests only may import and do what it needs; it is bound by the rules of every file only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const WORDS: &[&str] = &["id", "entry", "error", "event", "clock", "text", "wire", "child", "spare"];

/// The rooms above the words, and what each may import besides words and itself. Top down.
const ROOMS: &[(&str, &[&str])] = &[
    ("cli", &["job", "ops", "repo", "record", "tree", "flow", "source", "storage", "target", "sql", "vfs"]),
    ("job", &["ops", "repo", "record", "flow", "source", "storage", "target"]),
    (
        "ops",
        &[
            "repo", "flow", "source", "storage", "target", "sql", "vfs", "record", "tree", "index", "pack", "seal",
            "chunk", "crypto",
        ],
    ),
    ("repo", &["storage", "record", "tree", "index", "pack", "seal", "chunk", "crypto"]),
    ("flow", &[]),
    ("source", &[]),
    ("storage", &[]),
    ("target", &[]),
    ("sql", &[]),
    ("vfs", &[]),
    ("record", &["tree", "index", "pack", "seal", "chunk", "crypto"]),
    ("tree", &["chunk", "crypto"]),
    ("index", &["pack", "seal", "crypto"]),
    ("pack", &["seal", "crypto"]),
    ("seal", &["crypto"]),
    ("chunk", &["crypto"]),
    ("crypto", &[]),
];

/// A power: what it looks like in the source, and who has it. A name that ends with `/` is a folder.
struct Power {
    rule: &'static str,
    signs: &'static [&'static [&'static str]],
    holders: &'static [&'static str],
}

const POWERS: &[Power] = &[
    Power {
        // Rayon's own pool, which computes and never waits, is used where it fits.
        rule: "only flow starts threads",
        signs: &[
            &["thread", "::", "spawn"],
            &["thread", "::", "scope"],
            &["thread", "::", "Builder"],
            &["ThreadPoolBuilder"],
        ],
        // Signals must be waited for before there is any work.
        holders: &["src/flow/", "src/cli/signal.rs"],
    },
    Power {
        rule: "only crypto names ciphers",
        signs: &[&["chacha20poly1305"], &["argon2"]],
        holders: &["src/crypto/"],
    },
    Power {
        // Besides keyed hashes: names of objects, and the checksums that anybody can compare.
        rule: "only crypto, id and the checksum of records hash",
        signs: &[&["blake3"]],
        holders: &["src/crypto/", "src/id.rs", "src/record/mod.rs"],
    },
    Power {
        rule: "only clock knows the time and chance",
        signs: &[&["SystemTime"], &["Instant"], &["Timestamp", "::", "now"], &["Zoned", "::", "now"], &["getrandom"]],
        // A folder that is built aside needs a name that nobody has.
        holders: &["src/clock.rs", "src/target/files/stage.rs"],
    },
    Power {
        rule: "only cli prints",
        signs: &[
            &["println", "!"],
            &["eprintln", "!"],
            &["print", "!"],
            &["eprint", "!"],
            &["dbg", "!"],
            &["stdout"],
            &["stderr"],
        ],
        holders: &["src/cli/"],
    },
    Power { rule: "only child starts processes", signs: &[&["process", "::", "Command"]], holders: &["src/child.rs"] },
];

/// Files that may hold unsafe code, each with its reason.
const UNSAFE: &[(&str, &str)] =
    &[("src/vfs/engine.rs", "SQLite's engine calls C functions and owns the memory of files")];
const LINES_MAX: usize = 800;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// Words and signs of a source text, without comments and literals. `::` is one sign.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let (mut out, mut at, mut line) = (Vec::new(), 0, 1);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    while at < chars.len() {
        let c = chars[at];
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        let end = match c {
            '/' if next == '/' => find(&chars, at, |c| c == '\n'),
            '/' if next == '*' => end_of_block_comment(&chars, at),
            '"' => end_of_string(&chars, at),
            '\'' if next == '\\' => find(&chars, at + 3, |c| c == '\'') + 1,
            '\'' if chars.get(at + 2) == Some(&'\'') => at + 3,
            _ if is_word(c) => {
                let end = find(&chars, at, |c| !is_word(c));
                let word: String = chars[at..end].iter().collect();
                match raw_string(&chars, &word, end) {
                    Some(end) => end,
                    None => {
                        out.push(Token { text: word, line });
                        end
                    }
                }
            }
            ':' if next == ':' => {
                out.push(Token { text: "::".into(), line });
                at + 2
            }
            _ if c.is_whitespace() => at + 1,
            _ => {
                out.push(Token { text: c.into(), line });
                at + 1
            }
        };
        let end = end.min(chars.len());
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    out
}

fn find(chars: &[char], from: usize, is: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|at| is(chars[*at])).unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of the raw string that a word such as `r` or `br` begins.
fn raw_string(chars: &[char], word: &str, end: usize) -> Option<usize> {
    if !matches!(word, "r" | "br" | "cr") {
        return None;
    }
    let hashes = find(chars, end, |c| c != '#') - end;
    if chars.get(end + hashes) != Some(&'"') {
        return None;
    }
    let closes = |at: &usize| chars[*at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    Some((end + hashes + 1..chars.len()).find(closes).map_or(chars.len(), |at| at + 1 + hashes))
}

fn is_at(tokens: &[Token], at: usize, signs: &[&str]) -> bool {
    signs.iter().enumerate().all(|(n, sign)| tokens.get(at + n).is_some_and(|token| token.text == *sign))
}

/// The place behind the bracket that closes the one here.
fn close(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The tokens that are compiled for the program itself, and the modules in files of their own that are not.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut out, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        if !is_at(tokens, at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            out.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += 7;
        while is_at(tokens, at, &["#", "["]) {
            at = close(tokens, at + 1);
        }
        let start = at;
        while at < tokens.len() && !matches!(tokens[at].text.as_str(), ";" | "{") {
            at = if matches!(tokens[at].text.as_str(), "(" | "[") { close(tokens, at) } else { at + 1 };
        }
        if at < tokens.len() && tokens[at].text == "{" {
            at = close(tokens, at);
            continue;
        }
        let item = &tokens[start..at];
        if let Some(place) = item.iter().position(|token| token.text == "mod") {
            modules.extend(item.get(place + 1).map(|token| token.text.clone()));
        }
        at += 1;
    }
    (out, modules)
}

/// The rooms that are named, by `crate::` or by as many `super::` as lead there.
fn rooms_named(tokens: &[Token], depth: usize) -> Vec<Token> {
    let mut out = Vec::new();
    for at in 0..tokens.len() {
        let mut end = at;
        if is_at(tokens, at, &["crate", "::"]) {
            end = at + 2;
        } else if is_at(tokens, at, &["super", "::"]) && !(at >= 2 && is_at(tokens, at - 2, &["super", "::"])) {
            while is_at(tokens, end, &["super", "::"]) {
                end += 2;
            }
            // An inline module is one level deeper than its file, so a longer way may lead there as well.
            if (end - at) / 2 < depth {
                continue;
            }
        } else {
            continue;
        }
        match tokens.get(end).map(|token| token.text.as_str()) {
            Some("{") => {
                let group = &tokens[end..close(tokens, end)];
                let mut inner = 1;
                while inner < group.len() {
                    out.push(group[inner].clone());
                    while inner < group.len() && group[inner].text != "," {
                        inner = if group[inner].text == "{" { close(group, inner) } else { inner + 1 };
                    }
                    inner += 1;
                }
            }
            Some(_) => out.push(tokens[end].clone()),
            None => {}
        }
    }
    out
}

/// The module path of a file: `src/pack/read.rs` is `pack`, `read`.
fn module_path(file: &str) -> Vec<String> {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let parts = inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main"));
    parts.map(str::to_owned).collect()
}

fn is_held(holders: &[&str], file: &str) -> bool {
    holders.iter().any(|holder| file == *holder || (holder.ends_with('/') && file.starts_with(holder)))
}

/// Violations in the text of one file; `for_tests` if it is compiled for tests only.
fn violations(file: &str, source: &str, for_tests: bool) -> Vec<String> {
    let mut out = Vec::new();
    let all = tokens(source);
    every_file(file, source, &all, &mut out);
    if for_tests || !file.starts_with("src/") {
        return out;
    }
    let (program, _) = without_tests(&all);
    imports(file, &program, &mut out);
    for power in POWERS.iter().filter(|power| !is_held(power.holders, file)) {
        for at in 0..program.len() {
            if power.signs.iter().any(|sign| is_at(&program, at, sign) || is_in_group(&program, at, sign)) {
                let Token { text, line } = &program[at];
                out.push(format!("{file}:{line}: `{text}`: {}", power.rule));
            }
        }
    }
    out
}

/// `a::{b, c}` is `a::b` as well.
fn is_in_group(tokens: &[Token], at: usize, sign: &[&str]) -> bool {
    let [first, "::", last] = sign else { return false };
    is_at(tokens, at, &[first, "::", "{"])
        && tokens[at + 2..close(tokens, at + 2)].iter().any(|token| token.text == *last)
}

fn every_file(file: &str, source: &str, tokens: &[Token], out: &mut Vec<String>) {
    let lines = source.lines().count();
    if lines > LINES_MAX {
        out.push(format!("{file}:{lines}: no file has more than {LINES_MAX} lines"));
    }
    let never: [(&[&str], &str); 3] = [
        (&["[", "ignore"], "no test is ignored"),
        (&["todo", "!"], "nothing is left to do"),
        (&["unimplemented", "!"], "nothing is left to do"),
    ];
    for (at, token) in tokens.iter().enumerate() {
        for (sign, rule) in never {
            if is_at(tokens, at, sign) {
                out.push(format!("{file}:{}: `{}`: {rule}", token.line, sign.concat()));
            }
        }
        let is_unsafe = matches!(token.text.as_str(), "unsafe" | "unsafe_code");
        if is_unsafe && !UNSAFE.iter().any(|(name, reason)| *name == file && !reason.is_empty()) {
            out.push(format!("{file}:{}: `{}`: unsafe code is listed, with its reason", token.line, token.text));
        }
    }
}

fn imports(file: &str, program: &[Token], out: &mut Vec<String>) {
    let path = module_path(file);
    let Some(own) = path.first() else { return };
    let is_word = WORDS.contains(&own.as_str());
    let room = ROOMS.iter().find(|(name, _)| name == own);
    if !is_word && room.is_none() {
        out.push(format!("{file}:1: `{own}`: every room has a place in the picture"));
        return;
    }
    let may: &[&str] = room.map_or(&[], |(_, may)| may);
    for Token { text, line } in rooms_named(program, path.len()) {
        let is_room = ROOMS.iter().any(|(name, _)| *name == text);
        if is_room && text != *own && !may.contains(&text.as_str()) {
            out.push(format!("{file}:{line}: `{text}`: imports run one way, and {own} may not import {text}"));
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source_files(below: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push(path);
        }
    }
}

/// All files of the crate and of its tests: name and text.
fn files() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for folder in ["src", "tests"] {
        source_files(&root().join(folder), &mut paths);
    }
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Files that are compiled for tests only: those of modules declared so, and what is below them.
fn for_tests(files: &[(String, String)]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (file, source) in files {
        let (_, modules) = without_tests(&tokens(source));
        let folder = match file.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
            _ => file.trim_end_matches(".rs").to_owned(),
        };
        for module in modules {
            let below = format!("{folder}/{module}/");
            let own = format!("{folder}/{module}.rs");
            out.extend(
                files.iter().map(|(name, _)| name).filter(|name| **name == own || name.starts_with(&below)).cloned(),
            );
        }
    }
    out
}

#[test]
fn the_house_keeps_its_shape() {
    let files = files();
    let tests = for_tests(&files);
    assert!(files.len() > 100 && tests.contains("src/chunk/tests.rs") && tests.contains("src/storage/conformance.rs"));
    let found: Vec<String> =
        files.iter().flat_map(|(file, source)| violations(file, source, tests.contains(file))).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn main_only_hands_over_to_cli() {
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    let tokens = tokens(&main);
    let named = (0..tokens.len()).filter(|at| is_at(&tokens, *at, &["larder", "::"])).map(|at| &tokens[at + 2].text);
    assert_eq!(named.collect::<Vec<_>>(), ["cli"]);
}

#[test]
fn every_room_is_declared_and_no_table_is_stale() {
    let (lib, _) = without_tests(&tokens(&fs::read_to_string(root().join("src/lib.rs")).unwrap()));
    for at in (0..lib.len()).filter(|at| is_at(&lib, *at, &["mod"])) {
        let name = &lib[at + 1].text;
        assert!(
            WORDS.contains(&name.as_str()) || ROOMS.iter().any(|(room, _)| room == name),
            "src/lib.rs: `{name}` has no place in the picture"
        );
    }
    for file in POWERS.iter().flat_map(|power| power.holders).chain(UNSAFE.iter().map(|(file, _)| file)) {
        assert!(root().join(file).exists(), "{file} holds a power, but is not there");
    }
    // Whatever a room may import lies below it: so there are no rings.
    for (n, (room, may)) in ROOMS.iter().enumerate() {
        for name in *may {
            let place = ROOMS.iter().position(|(other, _)| other == name).unwrap();
            assert!(place > n, "{room} stands below {name}, which it may import");
        }
    }
}

#[test]
fn made_up_violations_are_found() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("src/storage/local.rs", "use crate::text;\nuse crate::crypto::Secret;", &["2: `crypto`"]),
        ("src/pack/read.rs", "use crate::{wire, index::Index, seal::{Header, repo}, crypto};", &["1: `index`"]),
        ("src/pack/read.rs", "fn f() { super::super::repo::open() }", &["1: `repo`"]),
        ("src/pack/mod.rs", "mod inner {\n    use super::super::tree::Root;\n}", &["2: `tree`"]),
        ("src/wire.rs", "use crate::crypto::Secret;", &["1: `crypto`"]),
        ("src/flow/mod.rs", "use crate::repo::Repository;", &["1: `repo`"]),
        ("src/attic/mod.rs", "", &["1: `attic`"]),
        ("src/ops/mod.rs", "use std::thread;\nfn f() { thread::spawn(|| ()); }", &["2: `thread`"]),
        ("src/ops/mod.rs", "use std::thread::{self, scope};", &["1: `thread`"]),
        ("src/seal/mod.rs", "use argon2::Params;", &["1: `argon2`"]),
        ("src/tree/mod.rs", "let x = blake3::hash(b);", &["1: `blake3`"]),
        ("src/repo/mod.rs", "use std::time::{Duration, Instant};", &["1: `Instant`"]),
        (
            "src/repo/mod.rs",
            "fn f() {\n    println!(\"x\");\n    std::io::stderr();\n}",
            &["2: `println`", "3: `stderr`"],
        ),
        ("src/source/mod.rs", "use std::process::Command;", &["1: `process`"]),
        ("src/cli/mod.rs", "#[test]\n#[ignore]\nfn f() { todo!() }", &["2: `[ignore`", "3: `todo!`"]),
        ("src/id.rs", "#![allow(unsafe_code)]\nfn f() { unsafe { } }", &["1: `unsafe_code`", "2: `unsafe`"]),
        ("tests/main.rs", "fn f() { unimplemented!() }", &["1: `unimplemented!`"]),
    ];
    for (file, source, expected) in cases {
        let found = violations(file, source, false);
        let same = found.len() == expected.len()
            && found.iter().zip(*expected).all(|(found, expected)| found.starts_with(&format!("{file}:{expected}")));
        assert!(same, "{file}: {source}\n{found:#?}");
    }
    let long = "\n".repeat(LINES_MAX + 1);
    assert_eq!(violations("src/id.rs", &long, false).len(), 1);
}

#[test]
fn what_only_looks_like_a_violation_is_none() {
    let source = r###"
        //! Not [`crate::repo`], nor println!.
        /* crate::repo /* stderr */ Instant */
        use crate::{crypto, wire};
        use super::super::Header;
        const A: &str = "crate::repo \" println!"; const B: &str = r#"unsafe " Instant"#; const C: &[u8] = br"todo!";
        fn f<'a>(x: &'a str) -> char { if x == "'" { '"' } else { '\'' } }
        #[cfg(test)]
        #[allow(unused)]
        mod tests { use crate::repo::Repository; fn f() { println!(); { } } }
        #[cfg(test)]
        use std::time::Instant;
        #[cfg(test)]
        fn g(a: [u8; 3]) { eprintln!() }
        fn h() { std::thread::sleep(x); crypto::open() }
    "###;
    assert_eq!(violations("src/seal/object.rs", source, false), Vec::<String>::new());
    assert_eq!(violations("src/seal/tests.rs", "use crate::repo::Repository;", true), Vec::<String>::new());
    let modules = without_tests(&tokens("#[cfg(test)]\npub mod conformance;\nmod real;")).1;
    assert_eq!(modules, ["conformance"]);
}
