//! `larder init`

use std::path::Path;
use std::sync::Arc;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::json;
use super::super::password::Secret;
use super::super::{engine, keyfile};
use crate::clock::{self, System};
use crate::error::{Error, Kind, Result};
use crate::repo::{Folder, Repository};
use crate::storage::local::LocalStorage;
use crate::storage::{ErrorKind, Listed, Storage};
use crate::text;

/// Make a repository
///
/// The folder that --repo names may be absent or empty. A password is asked for twice when there is a terminal and
/// nothing else gives one. With --key-file the repository is opened by that file, which is made if it is absent.
///
/// Whoever loses both the password and every key file loses the snapshots.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder --repo /mnt/backup/main init
  larder --repo /mnt/backup/main --key-file ~/larder.key init")]
pub struct Args {}

/// Makes it.
pub fn run(_: &Args, context: &Context<'_>) -> Result<Exit> {
    let location = engine::location(context)?;
    refuse_taken(&location)?;
    let secret = context.new_secret()?;
    let new_key_file =
        if let Secret::KeyFile(path) = &secret { Some(path).filter(|path| !path.exists()) } else { None };
    if new_key_file.is_none() {
        // One that cannot be read shall not leave an empty folder behind.
        engine::with_key(&secret, |_| Ok(()))?;
    }
    // The key first: where none can be made, no folder is left behind that looks like a repository.
    if let Some(path) = new_key_file {
        keyfile::create_key_file(path, &clock::random(context.world)?)?;
    }
    let storage = make_room(&location).inspect_err(|_| {
        if let Some(path) = new_key_file {
            // It opens nothing yet.
            let _ = std::fs::remove_file(path);
        }
    })?;
    let label = format!("{}@{}", engine::user_name(), engine::host_name());
    let repository =
        engine::with_key(&secret, |key| Repository::create(storage.clone(), Arc::new(System::default()), key, &label))?;
    tell(&repository, &location, &secret, context)?;
    Ok(Exit::Done)
}

/// Before anybody is asked for a password, and before anything is made.
fn refuse_taken(location: &Path) -> Result<()> {
    let storage = match LocalStorage::open(location) {
        Err(e) if e.kind == ErrorKind::Missing => return Ok(()),
        other => other?,
    };
    let is_empty = std::fs::read_dir(location).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty { Ok(()) } else { leftovers(&storage, location).map(drop) }
}

/// An empty folder, or one that an interrupted `init` left behind.
fn make_room(location: &Path) -> Result<Arc<dyn Storage>> {
    match LocalStorage::create(location) {
        Ok(storage) => Ok(Arc::new(storage)),
        Err(e) if e.kind == ErrorKind::Exists => {
            let storage = LocalStorage::open(location)?;
            for left in leftovers(&storage, location)? {
                storage.delete(&left.key)?;
            }
            Ok(Arc::new(storage))
        }
        Err(e) => Err(e.into()),
    }
}

/// What an interrupted `init` left in a folder that is not empty; an error if it is anything else.
fn leftovers(storage: &LocalStorage, location: &Path) -> Result<Vec<Listed>> {
    // What cannot be listed, such as a symbolic link, is no leftover either.
    let list = |prefix| storage.list(prefix).unwrap_or_default();
    if !list("config").is_empty() {
        return Err(Error::new(Kind::Failed, format!("there is a repository at {} already", text::path(location)))
            .fix("use it, or choose another place"));
    }
    let listed = list("");
    if listed.is_empty() || listed.iter().any(|l| Folder::Keys.id(&l.key).is_none()) {
        return Err(Error::new(Kind::Failed, format!("cannot make a repository at {}", text::path(location)))
            .why("the folder is not empty")
            .fix("choose an empty folder, or one that does not exist yet"));
    }
    Ok(listed)
}

fn tell(repository: &Repository, location: &Path, secret: &Secret, context: &Context<'_>) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let by_file = matches!(secret, Secret::KeyFile(_));
    if context.global.json {
        return context.output.json(&json::Init {
            repository: repository.id().to_hex(),
            location: location.as_os_str().as_bytes().into(),
            format: 1,
            key: if by_file { "key-file" } else { "password" },
        });
    }
    if !context.global.quiet {
        context.output.line(&format!("made repository {} at {}", repository.id().short(), text::path(location)))?;
    }
    let warning = match secret {
        Secret::KeyFile(path) => format!(
            "Keep a copy of {} somewhere else: without it, and without any other key, the snapshots are lost.",
            text::path(path)
        ),
        Secret::Password(_) => "Keep the password somewhere else: without it the snapshots are lost.".into(),
    };
    context.output.line(&warning)
}
