//! The walk itself: one directory after another, depth first.
//!
//! The directory being read is always open. Of those above it only the nearest are; the others are opened again on the
//! way back through `..`, or from the root when that leads elsewhere, and accepted only if they still are the same
//! directory. Their names were read before, so only the handle has to come back.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::exclude::{IGNORE_FILE, IGNORE_FILE_BYTES_MAX, Rules};
use super::listing::Listing;
use super::{Failure, FailureKind, Found, OpenFile, Options, Skipped, Stat, Step, open, stat};
use crate::entry::{Kind, PATH_BYTES_MAX, PATH_DEPTH_MAX};
use crate::error::{self, Error, Result};
use crate::text;

/// How many directories a walk itself holds open at most, besides the root and the one that it reads.
pub const HANDLES_MAX: usize = 64;

const BY_PATTERN: &str = "excluded by a pattern";
const CACHE_TAG: &CStr = c"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// A tree, entry by entry. Made by [`walk`].
#[derive(Debug)]
pub struct Walk {
    root: Arc<OwnedFd>,
    root_dev: u64,
    one_file_system: bool,
    tell_left_out: bool,
    /// Device and inode of the repository.
    repository: Option<(u64, u64)>,
    rules: Rules,
    skipped: Skipped,
    /// The entry seen last.
    path: Vec<u8>,
    here: Option<Level>,
    above: Vec<Parked>,
    /// The directory that was told last and is to be read next; `path` names it.
    entering: Option<Stat>,
    waiting: VecDeque<Step>,
    buffer: Vec<u8>,
}

/// The directory being read.
#[derive(Debug)]
struct Level {
    directory: Arc<OwnedFd>,
    state: State,
}

/// A directory above it.
#[derive(Debug)]
struct Parked {
    directory: Option<Arc<OwnedFd>>,
    state: State,
}

#[derive(Debug)]
struct State {
    dev: u64,
    ino: u64,
    path_len: usize,
    listing: Listing,
}

/// Starts a walk. The root may be a directory or a regular file, or a symbolic link that leads to one.
pub fn walk(root: &Path, options: &Options) -> Result<Walk> {
    let rules = Rules::new(options)?;
    let failed = |e: std::io::Error| match Error::io(format!("cannot read {}", text::path(root)), &e) {
        e if e.kind() == error::Kind::Exhausted => e,
        e => e.with_kind(error::Kind::Source),
    };
    let real = std::fs::canonicalize(root).map_err(failed)?;
    let name = real.file_name().map_or(&b"."[..], OsStrExt::as_bytes);
    let parent = open_path(real.parent().unwrap_or(Path::new("/"))).map_err(|e| failed(e.into()))?;
    let stat = stat::of_name(&parent, name, true).map_err(|e| failed(e.into()))?;
    match stat {
        Some(stat) if stat.kind == Kind::Directory => {
            if options.repository.as_deref().and_then(place_of) == Some((stat.dev, stat.ino)) {
                return Err(Error::new(error::Kind::Usage, format!("cannot back up {}", text::path(root)))
                    .why("it is the repository itself")
                    .fix("copy a repository with a copying program, such as rsync"));
            }
            let directory = open::for_reading(&parent, name, OFlags::DIRECTORY).map_err(|e| failed(e.into()))?;
            Ok(Walk::new(directory, stat.dev, rules, options).starting_with(Vec::new(), stat, b"."))
        }
        Some(stat) if stat.kind == Kind::File => {
            let given = root.file_name().map_or(name, OsStrExt::as_bytes).to_vec();
            Ok(Walk::new(parent, stat.dev, rules, options).starting_with(given, stat, name))
        }
        _ => Err(Error::new(error::Kind::Usage, format!("cannot back up {}", text::path(root)))
            .why("it is neither a directory nor a regular file")
            .fix("back up the folder that it is in; to save what comes out of it, write that to a file first")),
    }
}

fn place_of(directory: &Path) -> Option<(u64, u64)> {
    let stat = stat::of_handle(open_path(directory).ok()?).ok()??;
    Some((stat.dev, stat.ino))
}

fn open_path(directory: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn found(path: Vec<u8>, stat: &Stat, directory: &Arc<OwnedFd>, name: Option<&[u8]>) -> Step {
    let (directory, name) = (Arc::clone(directory), name.map(Box::from));
    Step::Found(Found { path, stat: *stat, directory, name })
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.waiting.pop_front() {
                return Some(step);
            }
            if let Some(stat) = self.entering.take() {
                self.enter(&stat);
            } else if !self.here.as_mut()?.state.name_next(&mut self.path) {
                self.leave();
            } else if let Some(step) = self.visit() {
                return Some(step);
            }
        }
    }
}

impl Walk {
    fn new(root: OwnedFd, root_dev: u64, rules: Rules, options: &Options) -> Self {
        Self {
            root: Arc::new(root),
            root_dev,
            one_file_system: options.one_file_system,
            tell_left_out: options.tell_left_out,
            repository: options.repository.as_deref().and_then(place_of),
            rules,
            skipped: Skipped::default(),
            path: Vec::new(),
            here: None,
            above: Vec::new(),
            entering: None,
            waiting: VecDeque::new(),
            buffer: Vec::new(),
        }
    }

    /// The first entry, which is known before anything is listed.
    fn starting_with(mut self, path: Vec<u8>, stat: Stat, name: &[u8]) -> Self {
        self.waiting.push_back(found(path, &stat, &self.root, Some(name)));
        self.entering = (stat.kind == Kind::Directory).then_some(stat);
        self
    }

    /// What has been left out on purpose so far.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Looks at the entry that `path` names.
    fn visit(&mut self) -> Option<Step> {
        let level = self.here.as_ref()?;
        if self.path.len() > PATH_BYTES_MAX {
            let why = format!("its path has more than {PATH_BYTES_MAX} bytes");
            return Some(Step::Failed(Failure::new(&self.path, FailureKind::NameTooLong, why)));
        }
        let name = &self.path[level.state.name_at()..];
        let stat = match stat::of_name(&*level.directory, name, !self.one_file_system) {
            Ok(Some(stat)) => stat,
            Ok(None) => {
                self.skipped.sockets += 1;
                self.leave_out("a socket");
                return None;
            }
            Err(errno) => return self.lost(errno),
        };
        let is_directory = stat.kind == Kind::Directory;
        if self.rules.exclude(&self.path, is_directory) {
            self.skipped.by_pattern += 1;
            self.leave_out(BY_PATTERN);
            return None;
        }
        let step = found(self.path.clone(), &stat, &level.directory, None);
        if is_directory && self.one_file_system && stat.dev != self.root_dev {
            self.skipped.other_file_systems += 1;
            self.leave_out("what is in it, as another file system");
        } else if is_directory && self.repository == Some((stat.dev, stat.ino)) {
            self.skipped.repository += 1;
            self.leave_out("what is in it, as this repository");
        } else if is_directory {
            self.entering = Some(stat);
        }
        Some(step)
    }

    /// Tells that what `path` names is left out, after what is told of it now.
    fn leave_out(&mut self, why: &'static str) {
        if self.tell_left_out {
            self.waiting.push_back(Step::LeftOut(self.path.clone(), why));
        }
    }

    /// The entry was listed, but nothing more can be said about it.
    fn lost(&mut self, errno: Errno) -> Option<Step> {
        if self.rules.exclude(&self.path, false) || self.rules.exclude(&self.path, true) {
            self.skipped.by_pattern += 1;
            self.leave_out(BY_PATTERN);
            return None;
        }
        Some(Step::Failed(Failure::system(&self.path, "cannot be looked up", errno)))
    }

    /// Makes the directory that `path` names the one being read.
    fn enter(&mut self, stat: &Stat) {
        let directory = match self.open_entering() {
            Ok(directory) => directory,
            Err(errno) => return self.fail(Failure::system(&self.path, "cannot be opened", errno)),
        };
        if !matches!(stat::of_handle(&directory), Ok(Some(now)) if now.is_same(stat)) {
            return self.fail(Failure::replaced(&self.path));
        }
        let (mut listing, stopped) = Listing::read(&directory, &mut self.buffer);
        if let Some(errno) = stopped {
            self.fail(Failure::system(&self.path, "cannot be listed to its end", errno));
        }
        if self.depth() == PATH_DEPTH_MAX && !listing.is_empty() {
            let why = format!("what is in it lies deeper than {PATH_DEPTH_MAX} directories");
            return self.fail(Failure::new(&self.path, FailureKind::TooDeep, why));
        }
        if self.depth() > 0 && listing.contains(CACHE_TAG) && is_cache(&directory) {
            self.skipped.cache_directories += 1;
            self.leave_out("what is in it, as a cache");
            listing = Listing::only(CACHE_TAG);
        } else if listing.contains(IGNORE_FILE) {
            self.read_rules(&directory);
        }
        let state = State { dev: stat.dev, ino: stat.ino, path_len: self.path.len(), listing };
        self.descend(Level { directory: Arc::new(directory), state });
    }

    fn open_entering(&self) -> rustix::io::Result<OwnedFd> {
        match &self.here {
            Some(level) => open::for_reading(&*level.directory, &self.path[level.state.name_at()..], OFlags::DIRECTORY),
            None => open::for_reading(&*self.root, b".", OFlags::DIRECTORY),
        }
    }

    /// Components in the path of the directory to be entered.
    fn depth(&self) -> usize {
        self.above.len() + usize::from(self.here.is_some())
    }

    fn descend(&mut self, level: Level) {
        if let Some(Level { directory, state }) = self.here.replace(level) {
            self.above.push(Parked { directory: Some(directory), state });
        }
        if let Some(far) = self.above.len().checked_sub(HANDLES_MAX + 1) {
            self.above[far].directory = None;
        }
    }

    /// Goes back to the nearest directory above that is still there.
    fn leave(&mut self) {
        let mut child = self.here.take().map(|level| level.directory);
        while let Some(Parked { directory, state }) = self.above.pop() {
            self.rules.leave_to(state.path_len);
            match directory.map_or_else(|| self.reopen(child.as_deref(), &state), Ok) {
                Ok(directory) => {
                    self.here = Some(Level { directory, state });
                    return;
                }
                Err(failure) => {
                    self.fail(failure);
                    child = None;
                }
            }
        }
    }

    fn reopen(&self, child: Option<&OwnedFd>, state: &State) -> Result<Arc<OwnedFd>, Failure> {
        let path = &self.path[..state.path_len];
        let is_it = |handle: &OwnedFd| matches!(stat::of_handle(handle), Ok(Some(stat)) if (stat.dev, stat.ino) == (state.dev, state.ino));
        let up = child.and_then(|child| step_to(child, b"..").ok()).filter(is_it);
        let again = match up {
            Some(up) => Ok(up),
            None => self.walk_down(path),
        };
        match again {
            Ok(directory) if is_it(&directory) => Ok(Arc::new(directory)),
            Err(errno) if error::is_exhausted(errno) => Err(Failure::system(path, "cannot be opened again", errno)),
            _ => {
                let why = format!("was moved while it was read; {} entries in it are missing", state.listing.left());
                Err(Failure::new(path, FailureKind::Vanished, why))
            }
        }
    }

    fn walk_down(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let mut names = path.split(|b| *b == b'/');
        let mut directory = step_to(&self.root, names.next().unwrap_or_default())?;
        for name in names {
            directory = step_to(&directory, name)?;
        }
        Ok(directory)
    }

    fn read_rules(&mut self, directory: &OwnedFd) {
        let path_len = self.path.len();
        let separator = if path_len == 0 { &b""[..] } else { b"/" };
        let path = [&self.path, separator, IGNORE_FILE.to_bytes()].concat();
        match read_whole(directory, IGNORE_FILE, &path, IGNORE_FILE_BYTES_MAX) {
            Ok(content) => {
                for bad in self.rules.enter(path_len, &content) {
                    let why = format!("line {} is no pattern: {}", bad.line, bad.why);
                    self.fail(Failure::new(&path, FailureKind::BadPattern, why));
                }
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.waiting.push_back(Step::Failed(failure));
    }
}

impl State {
    /// Where in the path of an entry of this directory its name begins.
    fn name_at(&self) -> usize {
        if self.path_len == 0 { 0 } else { self.path_len + 1 }
    }

    /// Puts the path of the next entry into `path`; false, and this directory's own path, at the end.
    fn name_next(&mut self, path: &mut Vec<u8>) -> bool {
        path.truncate(self.path_len);
        let Some(name) = self.listing.next() else { return false };
        if self.path_len > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        true
    }
}

/// A handle of a directory in this one. Enough to look up what is in it, even where listing it is not allowed.
fn step_to(directory: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

fn is_cache(directory: &OwnedFd) -> bool {
    let mut start = [0; CACHE_SIGNATURE.len()];
    let tag = open_regular(directory, CACHE_TAG, b"");
    tag.and_then(|tag| tag.read_at(0, &mut start)).is_ok() && start == CACHE_SIGNATURE
}

fn read_whole(directory: &OwnedFd, name: &CStr, path: &[u8], max: usize) -> Result<Vec<u8>, Failure> {
    let file = open_regular(directory, name, path)?;
    if file.stat().size > max as u64 {
        return Err(Failure::new(path, FailureKind::Unreadable, format!("has more than {max} bytes")));
    }
    let mut content = vec![0; max];
    let len = file.read_at(0, &mut content)?;
    content.truncate(len);
    Ok(content)
}

fn open_regular(directory: &OwnedFd, name: &CStr, path: &[u8]) -> Result<OpenFile, Failure> {
    let failed = |errno| Failure::system(path, "cannot be opened", errno);
    let not_regular = || Failure::new(path, FailureKind::Unreadable, "is not a regular file, and so not used");
    let stat = stat::of_name(directory, name, false).map_err(failed)?;
    let stat = stat.filter(|stat| stat.kind == Kind::File).ok_or_else(not_regular)?;
    let file = open::for_reading(directory, name.to_bytes(), OFlags::empty()).map_err(failed)?;
    match stat::of_handle(&file).map_err(failed)? {
        Some(now) if now.is_same(&stat) => Ok(OpenFile::new(file, now, path.to_vec())),
        _ => Err(Failure::replaced(path)),
    }
}
