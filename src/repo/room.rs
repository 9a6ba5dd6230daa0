//! Room for chunks that are made from others, used again and again: to ask for some each time, and to touch it for the first
//! time, takes as long as to fill it.

use std::sync::{Arc, Mutex};

use super::reader::lock;

/// So many are kept.
const ROOMS_MAX: usize = 16;
/// Larger ones are not. Bytes.
const ROOM_BYTES_MAX: usize = 256 << 10;

/// Rooms that nobody uses.
pub(super) type Rooms = Arc<Mutex<Vec<Vec<u8>>>>;

/// Bytes that go back to where they came from.
#[derive(Debug)]
pub struct Room {
    /// The bytes; of a room that was used before, whatever it held then.
    pub bytes: Vec<u8>,
    rooms: Option<Rooms>,
}

impl Room {
    /// One of these, or a new one.
    pub(super) fn of(rooms: &Rooms) -> Self {
        Self { bytes: lock(rooms).pop().unwrap_or_default(), rooms: Some(rooms.clone()) }
    }
}

impl From<Vec<u8>> for Room {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, rooms: None }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some(rooms) = self.rooms.as_ref().filter(|_| self.bytes.capacity() <= ROOM_BYTES_MAX) else { return };
        let mut rooms = lock(rooms);
        if rooms.len() < ROOMS_MAX {
            rooms.push(std::mem::take(&mut self.bytes));
        }
    }
}
