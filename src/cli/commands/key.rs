//! `larder key`

use std::path::PathBuf;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::password::{KeyOptions, Secret, Surroundings, ask_twice, find_new};
use crate::error::Result;

/// List, add, remove and change what opens the repository
///
/// A repository can have several passwords and key files; each one opens all of it.
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
        /// Its id, as larder key list shows it, or the beginning of it
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
            return ask_twice(around);
        }
        let (key_file, password_file) = (self.new_key_file.clone(), self.new_password_file.clone());
        find_new(&KeyOptions { key_file, password_file, ..KeyOptions::default() }, around)
    }
}

/// Does it.
pub fn run(_: &Args, _: &Context<'_>) -> Result<Exit> {
    super::not_built_yet("key")
}
