//! `larder key`

use std::path::PathBuf;

use super::super::address::{ID_DIGITS_MAX, ID_DIGITS_MIN};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::paint::Paint;
use super::super::password::{KeyOptions, Secret, Surroundings, ask_twice, find_new};
use super::super::table::{Align, Table};
use super::super::{engine, json, keyfile, render, time};
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Progress};
use crate::id::ObjectId;
use crate::record::{Slot, SlotLock};
use crate::repo::{Folder, Repository};
use crate::text;

/// List, add, remove and change what opens the repository
///
/// A repository can have several passwords and key files; each one opens all of it.
///
/// What is removed no longer opens this repository. It still opens copies of the repository that were made before, and
/// whoever has opened it once may have kept what is behind it: the data is not encrypted anew.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  larder key list
  larder key add --new-key-file /media/usb/larder.key
  larder key passwd")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with keys.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// List the passwords and key files that open the repository
    List,
    /// Add a password or a key file
    Add(NewKey),
    /// Remove a password or a key file; the last one stays
    Remove {
        /// Its id, as larder key list shows it, or the beginning of it: 4 digits or more
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Replace the password or key file that opens this run by a new one
    Passwd(NewKey),
}

/// Where a new secret comes from. Without an option a new password is asked for, twice.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NewKey {
    /// Use this key file, which is made if it is absent
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_file")]
    pub new_key_file: Option<PathBuf>,
    /// Take the new password from this file, which only its owner may read
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
}

impl NewKey {
    /// The new secret. The environment names the present one, so it is not asked.
    pub fn secret(&self, around: Surroundings<'_>) -> Result<Secret> {
        if self.new_key_file.is_none() && self.new_password_file.is_none() {
            let nobody = around.person.is_none();
            return ask_twice(around).map_err(|error| match nobody {
                true => error.fix("give --new-key-file or --new-password-file"),
                false => error,
            });
        }
        let (key_file, password_file) = (self.new_key_file.clone(), self.new_password_file.clone());
        find_new(&KeyOptions { key_file, password_file, ..KeyOptions::default() }, around)
    }
}

/// Does it.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit> {
    let repository = engine::open(context)?;
    match &args.action {
        Action::List => return list(&repository, context),
        Action::Add(new) => {
            let added = add(new, &repository, context)?;
            tell(json::KeyChange { change: "added", removed: None, added: Some(added.to_hex()) }, context)
        }
        Action::Remove { id } => remove(&slot_id(&repository, id)?, &repository, context),
        Action::Passwd(new) => change(new, &repository, context),
    }?;
    Ok(Exit::Done)
}

fn kind(slot: &Slot) -> &'static str {
    match slot.lock {
        SlotLock::Password(..) => "password",
        SlotLock::KeyFile => "key-file",
    }
}

fn list(repository: &Repository, context: &Context<'_>) -> Result<Exit> {
    let mut slots = Vec::new();
    let mut exit = Exit::Done;
    for (id, slot) in repository.key_slots()? {
        match slot {
            Ok(slot) => slots.push((id, slot)),
            Err(e) => {
                exit = Exit::Damage;
                let reporter = context.reporter();
                reporter.event(Event::Warning(&format!("key slot {}: {e}", id.short())));
                reporter.finish();
            }
        }
    }
    slots.sort_by_key(|(id, slot)| (slot.label(repository.keys()).map(|label| label.created), *id));
    if context.global.json {
        let keys = slots.iter().map(|(id, slot)| shape(id, slot, repository)).collect();
        context.output.json(&json::Keys { keys })?;
        return Ok(exit);
    }
    let columns = [("ID", Align::Left), ("KIND", Align::Left), ("CREATED", Align::Left), ("BY", Align::Left)];
    let mut table = Table::new(&[&columns[..], &[("", Align::Left)]].concat());
    let zone = context.zone();
    for (id, slot) in &slots {
        let label = slot.label(repository.keys());
        let created = label.as_ref().map(|label| time::local(label.created, &zone));
        let by = label.map(|label| text::escape(&label.label));
        let current = if *id == repository.own_slot() { "opened this run" } else { "" };
        table.row([
            id.short().into(),
            kind(slot).into(),
            created.unwrap_or_else(|| "?".into()).into(),
            by.unwrap_or_else(|| "?".into()).into(),
            current.into(),
        ]);
    }
    context.output.text(&table.to_text(context.paint()))?;
    Ok(exit)
}

fn shape(id: &ObjectId, slot: &Slot, repository: &Repository) -> json::Key {
    let label = slot.label(repository.keys());
    json::Key {
        id: id.to_hex(),
        kind: kind(slot),
        grants: "admin",
        created: label.as_ref().map(|label| time::rfc3339(label.created)),
        label: label.map(|label| text::escape(&label.label)),
        current: *id == repository.own_slot(),
    }
}

fn add(new: &NewKey, repository: &Repository, context: &Context<'_>) -> Result<ObjectId> {
    let secret = context.surrounded(|around| new.secret(around))?;
    if let Secret::KeyFile(path) = &secret
        && !path.exists()
    {
        keyfile::create_key_file(path, &clock::random(context.world)?)?;
    }
    let label = format!("{}@{}", engine::user_name(), engine::host_name());
    engine::with_key(&secret, |key| match repository.slot_opened_by(key)? {
        // A second slot of the same secret could not be told from the first, and removing one would not shut it out.
        Some(slot) => Err(Error::new(Kind::Usage, "the new key or password opens this repository already")
            .why(format!("it is key {}", slot.short()))
            .fix("give another one")),
        None => repository.add_key(key, &label),
    })
}

/// The slot whose id begins so. Slots are not read for it, so that a damaged one can be removed.
fn slot_id(repository: &Repository, prefix: &str) -> Result<ObjectId> {
    let is_hex = prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let shown = text::escape(prefix.as_bytes());
    if !is_hex || !(ID_DIGITS_MIN..=ID_DIGITS_MAX).contains(&prefix.len()) {
        return Err(Error::new(Kind::Usage, format!("'{shown}' is no id of a key"))
            .why("an id has 4 to 64 lower-case hex digits")
            .fix("list them: larder key list"));
    }
    let mut ids = repository.list(Folder::Keys)?;
    ids.retain(|id| id.to_hex().starts_with(prefix));
    match ids[..] {
        [id] => Ok(id),
        [] => Err(Error::new(Kind::Missing, format!("no key {shown}"))
            .why("no id begins so")
            .fix("list them: larder key list")),
        _ => Err(Error::new(Kind::Usage, format!("the id {shown} is not unique")).fix("write more digits of it")),
    }
}

fn remove(id: &ObjectId, repository: &Repository, context: &Context<'_>) -> Result<()> {
    repository.remove_key(id)?;
    if *id == repository.own_slot() && !context.global.json {
        let warning = "this run was opened with the key that is removed now: the next one needs another";
        super::super::tell(&format!("{}\n", render::warning(warning, Paint::stderr())));
    }
    tell(json::KeyChange { change: "removed", removed: Some(id.to_hex()), added: None }, context)
}

/// The new one first: whatever happens in between, there is a key that opens.
fn change(new: &NewKey, repository: &Repository, context: &Context<'_>) -> Result<()> {
    let added = add(new, repository, context)?;
    let old = repository.own_slot();
    repository.remove_key(&old).map_err(|e| {
        Error::new(e.kind(), format!("the new key {} is added, but the old one could not be removed", added.short()))
            .why(&e)
            .fix(format!("remove it: larder key remove {}", old.short()))
    })?;
    tell(json::KeyChange { change: "changed", removed: Some(old.to_hex()), added: Some(added.to_hex()) }, context)
}

fn tell(change: json::KeyChange, context: &Context<'_>) -> Result<()> {
    if context.global.json {
        return context.output.json(&change);
    }
    let short = |id: &String| id[..8].to_owned();
    if let Some(added) = &change.added {
        context.output.line(&format!("added key {}", short(added)))?;
    }
    if let Some(removed) = &change.removed {
        context.output.line(&format!("removed key {}", short(removed)))?;
        context.output.line("It still opens copies of the repository that were made before.")?;
    }
    Ok(())
}
