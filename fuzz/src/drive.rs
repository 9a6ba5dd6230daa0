//! Drives a target without libFuzzer: valid inputs, then random changes to them and to what was accepted so far.
//!
//! | variable | meaning |
//! |---|---|
//! | `LARDER_FUZZ_SECONDS` | how long each target runs; 2 if it is not set |
//! | `LARDER_FUZZ_SEED` | what the random changes follow from; 1 if it is not set |

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::random::{Random, mutate};
use crate::{TARGETS, Target, Verdict};

/// Accepted inputs that are kept to be changed further.
const POOL: usize = 256;
/// Longest input that is kept.
const KEPT_BYTES_MAX: usize = 64 << 10;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
        Err(_) => default,
    }
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target {name}"))
}

fn artifact(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(target.name).join("failed")
}

/// The beginning of an input, in hex.
fn shown(input: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&input[..input.len().min(500)])
}

/// Runs one input; one that fails is kept in a file, and named.
fn run(target: &Target, input: &[u8]) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).unwrap_or_else(|panic| {
        let path = artifact(target);
        let kept = path.parent().map(std::fs::create_dir_all).is_some_and(|made| made.is_ok())
            && std::fs::write(&path, input).is_ok();
        eprintln!("{} fails with {} bytes: {}", target.name, input.len(), shown(input));
        if kept {
            eprintln!("again: cargo run --manifest-path fuzz/Cargo.toml --bin {} {}", target.name, path.display());
        }
        resume_unwind(panic)
    })
}

/// Drives the target for as long as `LARDER_FUZZ_SECONDS` says.
pub fn for_a_while(name: &str) {
    let target = target(name);
    let end = Instant::now() + Duration::from_secs(number("LARDER_FUZZ_SECONDS", 2));
    let mut random = Random::new(number("LARDER_FUZZ_SEED", 1));
    let mut pool = (target.seeds)();
    let mut inputs = 0u64;
    for seed in &pool {
        assert_eq!(run(target, seed), Verdict::Accepted, "{name}: a valid input is refused: {}", shown(seed));
        inputs += 1;
    }
    let valid = pool.len();
    assert!(valid > 0, "{name} has no valid inputs");
    let mut accepted = 0u64;
    while Instant::now() < end {
        for _ in 0..16 {
            let (one, other) = (random.below(pool.len()), random.below(pool.len()));
            let input = if random.below(64) == 0 {
                let len = random.below(300);
                random.bytes(len)
            } else {
                mutate(&pool[one], &pool[other], &mut random)
            };
            inputs += 1;
            if run(target, &input) == Verdict::Accepted {
                accepted += 1;
                if input.len() > KEPT_BYTES_MAX {
                } else if pool.len() < POOL {
                    pool.push(input);
                } else {
                    let at = valid + random.below(POOL - valid);
                    pool[at] = input;
                }
            }
        }
    }
    println!("figure: fuzz {name}, inputs = {inputs}");
    println!("figure: fuzz {name}, of these accepted = {accepted}");
}

/// Writes the valid inputs into a folder, for libFuzzer to begin with.
fn write_seeds(target: &Target, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut seeds = (target.seeds)().into_iter().enumerate();
    seeds.try_for_each(|(n, seed)| std::fs::write(folder.join(format!("valid-{n}")), seed))
}

/// The binary of a target: with `--seeds FOLDER` it writes the valid inputs; files that it is given it runs; without
/// arguments it drives the target for a while.
pub fn main(name: &str) -> ExitCode {
    let target = target(name);
    let args: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let done = match args.as_slice() {
        [] => {
            for_a_while(name);
            Ok(())
        }
        [option, folder] if option.as_os_str() == "--seeds" => write_seeds(target, folder),
        files => files.iter().try_for_each(|file| {
            let input = std::fs::read(file)?;
            println!("{}: {:?}", file.display(), run(target, &input));
            Ok(())
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
