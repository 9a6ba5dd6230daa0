//! Which object lies under which key.

use crate::id::ObjectId;
use crate::seal::ObjectKind;
use crate::storage::Key;

/// The folders of a repository that hold objects named by their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Folder {
    Keys,
    Packs,
    Index,
    Snapshots,
    Sessions,
    Tombs,
    Damage,
    Notes,
}

impl Folder {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Keys, Self::Packs, Self::Index, Self::Snapshots, Self::Sessions, Self::Tombs, Self::Damage, Self::Notes];

    /// The folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Packs => "packs",
            Self::Index => "index",
            Self::Snapshots => "snapshots",
            Self::Sessions => "sessions",
            Self::Tombs => "tombs",
            Self::Damage => "damage",
            Self::Notes => "notes",
        }
    }

    /// What an object of this name in it is called where people read it.
    pub fn object(self, id: &ObjectId) -> String {
        format!("{} {}", self.kind().name(), id.short())
    }

    /// What lies in it.
    pub fn kind(self) -> ObjectKind {
        match self {
            Self::Keys => ObjectKind::KeySlot,
            Self::Packs => ObjectKind::Pack,
            Self::Index => ObjectKind::Index,
            Self::Snapshots => ObjectKind::Snapshot,
            Self::Sessions => ObjectKind::Session,
            Self::Tombs => ObjectKind::Tomb,
            Self::Damage => ObjectKind::Damage,
            Self::Notes => ObjectKind::Note,
        }
    }

    /// Where the object of this name lies. Packs are spread over 256 folders.
    pub fn key(self, id: &ObjectId) -> Key {
        let hex = id.to_hex();
        match self {
            Self::Packs => key(&format!("packs/{}/{hex}", &hex[..2])),
            _ => key(&format!("{}/{hex}", self.name())),
        }
    }

    /// The name of the object under this key, or whose second copy lies there; `None` if it is no object of this
    /// folder.
    pub fn id(self, key: &Key) -> Option<ObjectId> {
        let name = key.as_str().rsplit('/').next()?;
        let id = ObjectId::from_hex(name.strip_suffix(COPY).unwrap_or(name))?;
        let place = self.key(&id);
        (place == *key || self == Self::Keys && copy_of(&place) == *key).then_some(id)
    }
}

/// Where the end of a session lies.
pub(super) fn session_end(id: &ObjectId) -> Key {
    key(&format!("sessions/{}.end", id.to_hex()))
}

/// The session that ended, if this is the key of an end.
pub(super) fn ended_session(key: &Key) -> Option<ObjectId> {
    ObjectId::from_hex(key.as_str().strip_prefix("sessions/")?.strip_suffix(".end")?)
}

/// Where a generation of the configuration lies.
pub(super) fn config(generation: u32) -> Key {
    key(&format!("config/{generation:08}"))
}

/// The generation under this key, or whose second copy lies there.
pub(super) fn config_generation(key: &Key) -> Option<u32> {
    let text = key.as_str().strip_prefix("config/")?;
    let text = text.strip_suffix(COPY).unwrap_or(text);
    text.parse().ok().filter(|generation| [config(*generation), copy_of(&config(*generation))].contains(key))
}

const COPY: &str = ".copy";

/// Where the second copy of a configuration or a key slot lies.
pub(super) fn copy_of(original: &Key) -> Key {
    key(&format!("{}{COPY}", original.as_str()))
}

/// Keys are made of fixed words and hex digits here, so this is always one.
#[allow(clippy::expect_used)]
fn key(text: &str) -> Key {
    Key::new(text).expect("words and hex digits make a key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_one_place() {
        let id = ObjectId::new([0xab; 32]);
        for folder in Folder::ALL {
            assert_eq!(folder.id(&folder.key(&id)), Some(id));
        }
        assert_eq!(Folder::Packs.id(&key(&format!("packs/00/{id}"))), None);
        assert_eq!(Folder::Keys.id(&Folder::Index.key(&id)), None);
        assert_eq!(Folder::Keys.id(&copy_of(&Folder::Keys.key(&id))), Some(id));
        assert_eq!(Folder::Notes.id(&copy_of(&Folder::Notes.key(&id))), None);
        assert_eq!(Folder::Keys.id(&copy_of(&copy_of(&Folder::Keys.key(&id)))), None);
        assert_eq!(ended_session(&session_end(&id)), Some(id));
        assert_eq!(config_generation(&config(7)), Some(7));
        assert_eq!(config_generation(&copy_of(&config(7))), Some(7));
        assert_eq!(config_generation(&key("config/7")), None);
        assert_eq!(config_generation(&key("config/7.copy")), None);
    }
}
