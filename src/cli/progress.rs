//! How a long job looks while it runs: a bar on a terminal, a line a minute with `-v` elsewhere, else only warnings.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::json;
use super::output::Output;
use super::paint::Paint;
use super::render;
use super::time;
use crate::clock::World;
use crate::event::{Event, Progress};
use crate::text;

/// More warnings than that are only counted.
pub const WARNINGS_MAX: u64 = 1000;
const LINE_EVERY: Duration = Duration::from_secs(60);
const BAR: &str = "  {phase} {wide_bar} {told}";
const SPINNER: &str = "{spinner} {phase} {told}";
const TICK: Duration = Duration::from_millis(125);

/// What of a running job is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A bar on standard error.
    Bar,
    /// A line a minute on standard error.
    Lines,
    /// Nothing but warnings.
    Quiet,
}

impl Look {
    /// What suits these options and this standard error.
    pub fn choose(quiet: bool, verbose: bool, json: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self::suits(quiet, verbose, json, io::stderr().is_terminal() && !is_dumb)
    }

    fn suits(quiet: bool, verbose: bool, json: bool, is_terminal: bool) -> Self {
        match (quiet || json, is_terminal, verbose) {
            (true, _, _) => Self::Quiet,
            (false, true, _) => Self::Bar,
            (false, false, true) => Self::Lines,
            (false, false, false) => Self::Quiet,
        }
    }
}

/// Where warnings go.
#[derive(Clone, Debug)]
pub enum Talk {
    /// To people, on standard error.
    People(Paint),
    /// To programs, as JSON lines among the data.
    Programs(Output),
}

/// Shows a job's events. [`Reporter::finish`] ends it; dropping it clears the bar too.
pub struct Reporter<'a> {
    talk: Talk,
    tally: Arc<Tally>,
    warnings: AtomicU64,
    has_notes: bool,
    bar: Option<ProgressBar>,
    lines: Option<Lines<'a>>,
}

/// What has been done in this phase.
#[derive(Default)]
struct Tally {
    files: AtomicU64,
    bytes: AtomicU64,
    phase: Mutex<Phase>,
}

#[derive(Clone, Copy, Default)]
struct Phase {
    name: &'static str,
    files_total: Option<u64>,
    bytes_total: Option<u64>,
}

struct Lines<'a> {
    world: &'a dyn World,
    next_ms: AtomicU64,
}

impl<'a> Reporter<'a> {
    /// Begins to show a job.
    pub fn start(look: Look, talk: Talk, world: &'a dyn World) -> Self {
        let tally = Arc::<Tally>::default();
        let bar = (look == Look::Bar).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
            bar
        });
        let first_ms = millis(world.elapsed() + LINE_EVERY);
        let lines = (look == Look::Lines).then(|| Lines { world, next_ms: AtomicU64::new(first_ms) });
        Self { talk, tally, warnings: AtomicU64::new(0), has_notes: true, bar, lines }
    }

    /// Leaves out what is good to know and no warning.
    pub fn without_notes(mut self, quiet: bool) -> Self {
        self.has_notes = !quiet;
        self
    }

    /// Takes the bar away and says how many warnings were not shown.
    pub fn finish(self) {
        self.clear();
        let hidden = self.warnings.load(Ordering::Relaxed).saturating_sub(WARNINGS_MAX);
        if hidden > 0 {
            self.say(&format!("{} more warnings are not shown", render::grouped(hidden)));
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn begin(&self, phase: Phase) {
        self.tally.begin(phase);
        if let Some(bar) = &self.bar {
            bar.set_style(style(phase, self.tally.clone()));
            match phase.length() {
                Some(length) => bar.set_length(length),
                None => bar.unset_length(),
            }
            bar.reset();
        }
    }

    fn advance(&self, files: u64, bytes: u64) {
        self.tally.files.fetch_add(files, Ordering::Relaxed);
        self.tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            let is_counting_files = self.tally.phase().counts_files();
            bar.inc(if is_counting_files { files } else { bytes });
        }
        if self.lines.as_ref().is_some_and(Lines::is_due) {
            talk_to_people(&self.tally.line());
        }
    }

    fn warn(&self, message: &str) {
        if self.warnings.fetch_add(1, Ordering::Relaxed) < WARNINGS_MAX {
            self.say(message);
        }
    }

    /// For people only; whoever wants no details does not ask for them.
    fn note(&self, message: &str) {
        match (&self.talk, &self.bar) {
            (Talk::Programs(_), _) => {}
            _ if !self.has_notes => {}
            (Talk::People(_), Some(bar)) => bar.suspend(|| talk_to_people(message)),
            (Talk::People(_), None) => talk_to_people(message),
        }
    }

    fn say(&self, message: &str) {
        match (&self.talk, &self.bar) {
            // Whoever reads the data may be gone; the job goes on.
            (Talk::Programs(output), _) => drop(output.json(&json::Warning { message })),
            (Talk::People(paint), Some(bar)) => bar.suspend(|| talk_to_people(&render::warning(message, *paint))),
            (Talk::People(paint), None) => talk_to_people(&render::warning(message, *paint)),
        }
    }
}

impl Drop for Reporter<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Progress for Reporter<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Phase { name, bytes_total, files_total } => self.begin(Phase { name, files_total, bytes_total }),
            Event::Advance { files, bytes } => self.advance(files, bytes),
            Event::Warning(message) => self.warn(message),
            Event::Note(message) => self.note(message),
        }
    }
}

impl fmt::Debug for Reporter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

impl Tally {
    fn begin(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        self.files.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn amounts(&self) -> String {
        self.phase().amounts(self.files.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    fn line(&self) -> String {
        format!("{}: {}", self.phase().name, self.amounts())
    }
}

impl Phase {
    /// Whether files, not bytes, tell how far it is.
    fn counts_files(&self) -> bool {
        self.bytes_total.is_none() && self.files_total.is_some()
    }

    fn length(&self) -> Option<u64> {
        self.bytes_total.or(self.files_total)
    }

    /// "1.1 GiB of 1.9 GiB · 4 210 files".
    fn amounts(&self, files: u64, bytes: u64) -> String {
        let mut parts = Vec::new();
        if bytes > 0 || self.bytes_total.is_some() {
            parts.push(of(text::size(bytes), self.bytes_total.map(text::size)));
        }
        if files > 0 || self.files_total.is_some() {
            let word = if self.files_total.unwrap_or(files) == 1 { "file" } else { "files" };
            parts.push(format!("{} {word}", of(render::grouped(files), self.files_total.map(render::grouped))));
        }
        parts.join(" · ")
    }

    /// " · 96 MiB/s · 8 s left", as far as that is known.
    fn pace(&self, per_second: f64, left: Duration) -> String {
        if per_second < 1.0 {
            return String::new();
        }
        let speed = if self.counts_files() {
            format!("{}/s", render::grouped(per_second as u64))
        } else {
            format!("{}/s", text::size(per_second as u64))
        };
        match self.length() {
            Some(_) if !left.is_zero() => format!(" · {speed} · {} left", time::duration_whole(left)),
            _ => format!(" · {speed}"),
        }
    }
}

fn of(done: String, total: Option<String>) -> String {
    total.map_or(done.clone(), |total| format!("{done} of {total}"))
}

fn style(phase: Phase, tally: Arc<Tally>) -> ProgressStyle {
    let template = if phase.length().is_some() { BAR } else { SPINNER };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style
        .progress_chars("█▉▊▋▌▍▎▏░")
        .with_key("phase", move |_: &ProgressState, w: &mut dyn fmt::Write| put(w, phase.name))
        .with_key("told", move |state: &ProgressState, w: &mut dyn fmt::Write| {
            let amounts = tally.amounts();
            // Between two phases the estimate is still that of the one before.
            let pace = if amounts.is_empty() { String::new() } else { phase.pace(state.per_sec(), state.eta()) };
            put(w, &(amounts + &pace));
        })
}

/// The bar's text is a string that grows; writing to it does not fail.
fn put(to: &mut dyn fmt::Write, text: &str) {
    let _ = to.write_str(text);
}

impl Lines<'_> {
    /// Whether a minute has passed; true for one caller only.
    fn is_due(&self) -> bool {
        let now_ms = millis(self.world.elapsed());
        let due_ms = self.next_ms.load(Ordering::Relaxed);
        let next_ms = now_ms + millis(LINE_EVERY);
        now_ms >= due_ms && self.next_ms.compare_exchange(due_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// A standard error that nobody reads does not stop a job.
fn talk_to_people(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::testing::Kept;
    use crate::entry::Time;
    use crate::error::Result;

    #[derive(Debug, Default)]
    struct Still(AtomicU64);

    impl World for Still {
        fn now(&self) -> Time {
            Time::default()
        }

        fn elapsed(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn random(&self, _: &mut [u8]) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_look_suits_options_and_terminal() {
        let looks = |quiet, verbose, json| [true, false].map(|terminal| Look::suits(quiet, verbose, json, terminal));
        assert_eq!(looks(false, false, false), [Look::Bar, Look::Quiet]);
        assert_eq!(looks(false, true, false), [Look::Bar, Look::Lines]);
        assert_eq!(looks(true, false, false), [Look::Quiet, Look::Quiet]);
        assert_eq!(looks(false, true, true), [Look::Quiet, Look::Quiet]);
    }

    #[test]
    fn warnings_to_programs_are_bounded() {
        let (kept, world) = (Kept::default(), Still::default());
        let reporter = Reporter::start(Look::Quiet, Talk::Programs(kept.output()), &world);
        for _ in 0..WARNINGS_MAX + 1234 {
            reporter.event(Event::Warning("x"));
        }
        reporter.finish();
        let text = kept.text();
        assert_eq!(text.lines().count() as u64, WARNINGS_MAX + 1);
        assert_eq!(text.lines().next(), Some(r#"{"v":1,"type":"warning","message":"x"}"#));
        assert_eq!(
            text.lines().last(),
            Some(r#"{"v":1,"type":"warning","message":"1 234 more warnings are not shown"}"#)
        );
    }

    #[test]
    fn a_line_comes_once_a_minute() {
        let world = Still::default();
        let lines = Lines { world: &world, next_ms: AtomicU64::new(60_000) };
        let due = [0, 59_999, 60_000, 60_001, 119_999, 120_000, 500_000, 500_001].map(|now| {
            world.0.store(now, Ordering::Relaxed);
            lines.is_due()
        });
        assert_eq!(due, [false, false, true, false, false, true, true, false]);
    }

    #[test]
    fn a_line_tells_phase_and_amounts() {
        let world = Still::default();
        let reporter = Reporter::start(Look::Quiet, Talk::People(Paint::PLAIN), &world);
        reporter.event(Event::Phase { name: "reading", bytes_total: Some(3 << 30), files_total: None });
        reporter.event(Event::Advance { files: 4210, bytes: 1 << 30 });
        assert_eq!(reporter.tally.line(), "reading: 1.0 GiB of 3.0 GiB · 4 210 files");
        reporter.event(Event::Phase { name: "saving", bytes_total: None, files_total: Some(1) });
        assert_eq!(reporter.tally.line(), "saving: 0 of 1 file");
    }

    #[test]
    fn a_bar_tells_pace_and_what_is_left() {
        let bytes = Phase { name: "x", files_total: None, bytes_total: Some(1) };
        assert_eq!(bytes.pace(1024.0 * 1024.0, Duration::from_secs(8)), " · 1.0 MiB/s · 8 s left");
        assert_eq!(bytes.pace(0.0, Duration::from_secs(8)), "");
        let files = Phase { name: "x", files_total: Some(9), bytes_total: None };
        assert_eq!(files.pace(1500.0, Duration::from_secs(61)), " · 1 500/s · 1 m 1 s left");
        let unknown = Phase::default();
        assert_eq!(unknown.pace(2048.0, Duration::ZERO), " · 2.0 KiB/s");
    }

    #[test]
    fn every_style_is_a_valid_template() {
        for template in [BAR, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
