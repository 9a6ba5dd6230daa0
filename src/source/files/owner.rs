//! Names of users and groups.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

/// Finds the names of users and groups by number, asking the system once for each.
#[derive(Debug, Default)]
pub struct Names {
    users: HashMap<u32, Box<[u8]>>,
    groups: HashMap<u32, Box<[u8]>>,
}

impl Names {
    /// Nothing asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A user's name, raw bytes; empty when the system knows none.
    pub fn user(&mut self, uid: u32) -> &[u8] {
        let ask = || uzers::get_user_by_uid(uid).map(|user| user.name().as_bytes().into());
        self.users.entry(uid).or_insert_with(|| ask().unwrap_or_default())
    }

    /// A group's name, raw bytes; empty when the system knows none.
    pub fn group(&mut self, gid: u32) -> &[u8] {
        let ask = || uzers::get_group_by_gid(gid).map(|group| group.name().as_bytes().into());
        self.groups.entry(gid).or_insert_with(|| ask().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_most_numbers_have_none() {
        let mut names = Names::new();
        assert_eq!(names.user(0), b"root");
        assert_eq!(names.group(0), b"root");
        assert_eq!(names.user(3_999_999_999), b"");
        assert_eq!(names.group(3_999_999_999), b"");
        assert_eq!(names.user(0), b"root");
    }
}
