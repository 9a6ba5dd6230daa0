//! One thing in a tree: a file, a folder, a link, with everything that a restore gives back.

use crate::id::ChunkId;

/// Longest path below a source's root, in bytes.
pub const PATH_BYTES_MAX: usize = 32 << 10;
/// Deepest path below a source's root, in components.
pub const PATH_DEPTH_MAX: usize = 4096;

/// A moment: seconds since 1970-01-01T00:00:00Z, and nanoseconds below 10^9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// 0 ..= 999_999_999, always counted forward from `seconds`.
    pub nanos: u32,
}

impl Time {
    /// The next moment; after the last one the last.
    pub fn next(self) -> Self {
        match (self.nanos < 999_999_999, self.seconds.checked_add(1)) {
            (true, _) => Self { nanos: self.nanos + 1, ..self },
            (false, Some(seconds)) => Self { seconds, nanos: 0 },
            (false, None) => self,
        }
    }
}

/// What kind of thing an entry is. The numbers are the stored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    File = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// A character device.
    CharDevice = 5,
    /// A block device.
    BlockDevice = 6,
}

impl Kind {
    /// The kind stored under this number.
    pub fn from_u8(number: u8) -> Option<Self> {
        [Self::File, Self::Directory, Self::Symlink, Self::Fifo, Self::CharDevice, Self::BlockDevice]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// A run of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Length in bytes, never zero.
    pub len: u64,
}

/// A chunk with the number of plaintext bytes that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    /// Its id.
    pub id: ChunkId,
    /// For a data chunk its own length; for a chunk list the sum over all data chunks below it. Bytes.
    pub len: u64,
}

/// A stored byte string: its chunks in order, perhaps behind levels of chunk lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// 0: `chunks` are data chunks. n: they are chunk lists of level n, each naming items of level n − 1.
    pub level: u8,
    /// In order; empty for an empty file.
    pub chunks: Vec<ChunkRef>,
}

impl Content {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len).sum()
    }

    /// Whether it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An extended attribute: name and value, both raw bytes. ACLs are attributes too.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Everything about one path but the path itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits, 0 ..= 0o7777.
    pub mode: u32,
    /// Owner by number.
    pub uid: u32,
    /// Group by number.
    pub gid: u32,
    /// Owner by name, raw bytes; empty when the system knew none.
    pub user: Vec<u8>,
    /// Group by name, raw bytes; empty when the system knew none.
    pub group: Vec<u8>,
    /// Last change of the content.
    pub mtime: Time,
    /// Logical length of a file in bytes, holes included; 0 for anything else.
    pub size: u64,
    /// Extended attributes, sorted by name, names distinct.
    pub xattrs: Vec<Xattr>,
    /// Where a symbolic link points, raw bytes.
    pub target: Vec<u8>,
    /// Files that share one inode share this value: a keyed hash of the group's first path.
    pub hard_link: Option<[u8; 16]>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// The parts of a file that hold data, ascending, not touching; `None`: all of it. The gaps are holes.
    pub extents: Option<Vec<Extent>>,
    /// A file's data: the bytes of its extents, one after another.
    pub content: Content,
}

impl Entry {
    /// An entry of this kind with nothing else known.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            user: Vec::new(),
            group: Vec::new(),
            mtime: Time::default(),
            size: 0,
            xattrs: Vec::new(),
            target: Vec::new(),
            hard_link: None,
            device: (0, 0),
            extents: None,
            content: Content::default(),
        }
    }
}
