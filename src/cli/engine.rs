//! From options to an opened repository.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::context::Context;
use super::keyfile;
use super::paint::Paint;
use super::password::Secret;
use super::render;
use crate::clock::System;
use crate::error::Result;
use crate::repo::{KeySource, Repository, no_repository};
use crate::storage::local::LocalStorage;
use crate::storage::{ErrorKind, Storage};
use crate::text;

/// The folder that `--repo` names.
pub fn location(context: &Context<'_>) -> Result<PathBuf> {
    Ok(PathBuf::from(context.repository()?))
}

/// Opens the storage at a place where a repository should be.
pub fn storage(path: &Path) -> Result<Arc<dyn Storage>> {
    match LocalStorage::open(path) {
        Ok(storage) => Ok(Arc::new(storage)),
        Err(e) if e.kind == ErrorKind::Missing => Err(no_repository(&text::path(path), "there is no such folder")),
        Err(e) => Err(e.into()),
    }
}

/// A repository that a command works on.
pub struct Opened(Repository);

impl std::ops::Deref for Opened {
    type Target = Repository;
    fn deref(&self) -> &Repository {
        &self.0
    }
}

impl Drop for Opened {
    /// Nobody uses what parity gives back without saying so.
    fn drop(&mut self) {
        for object in self.0.take_mendable() {
            let is_in_trash = object.key != object.folder.key(&object.id);
            let then = if is_in_trash {
                "`larder undelete` puts it back whole"
            } else {
                "`larder check` makes it whole again"
            };
            let warning = format!("{object} is damaged; its parity gave back what was read of it; {then}");
            super::tell(&format!("{}\n", render::warning(&warning, Paint::stderr())));
        }
    }
}

/// Opens the repository that the options name.
pub fn open(context: &Context<'_>) -> Result<Opened> {
    open_on(storage(&location(context)?)?, context)
}

/// Opens the repository on this storage.
pub fn open_on(storage: Arc<dyn Storage>, context: &Context<'_>) -> Result<Opened> {
    let secret = context.secret()?;
    let repository = with_key(&secret, |key| Repository::open(storage.clone(), Arc::new(System::default()), key))?;
    let trouble = context.cache_trouble.get_or_init(|| repository.cache_trouble().clone());
    Ok(Opened(match cache_root() {
        Some(root) => repository.with_cache(&root),
        None => {
            trouble.set("neither HOME nor XDG_CACHE_HOME says where it is to be".into());
            repository
        }
    }))
}

/// Calls with the secret in the form that the engine takes.
pub fn with_key<T>(secret: &Secret, call: impl FnOnce(KeySource<'_>) -> Result<T>) -> Result<T> {
    match secret {
        Secret::Password(password) => call(KeySource::Password(password)),
        Secret::KeyFile(path) => {
            let key = keyfile::read_key_file(path)?;
            call(KeySource::KeyFile(&key))
        }
    }
}

/// `$XDG_CACHE_HOME/larder`, else `~/.cache/larder`; none where neither is known: then there are no caches.
pub fn cache_root() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("larder"))
}

/// This machine's name.
pub fn host_name() -> String {
    text::escape(rustix::system::uname().nodename().to_bytes())
}

/// The account's name, or its number.
pub fn user_name() -> String {
    use std::os::unix::ffi::OsStrExt;
    let uid = rustix::process::geteuid().as_raw();
    match uzers::get_user_by_uid(uid) {
        Some(user) => text::escape(OsStr::as_bytes(user.name())),
        None => uid.to_string(),
    }
}
