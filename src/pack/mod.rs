//! Many sealed chunks in one object.
//!
//! ```text
//! pack    := header(96) ‖ wrap(83) ‖ frame* ‖ table ‖ trailer(16) ‖ parity ‖ zeros ‖ trailer(16)
//! frame   := the sealed body of one frame; its ordinal is the nonce, its chunk kind is authenticated
//! table   := sealed: what lies in each frame; the truth from which every index can be rebuilt
//! parity  := what gives back a stretch of bad bytes; with the zeros, up to the next PADMÉ size of at least 4 KiB
//! trailer := table offset u32 ‖ table length u32 ‖ number of frames u32 ‖ magic "KCAP"
//! ```
//! Everything here is pure: bytes in, bytes out. [`PackBuilder`] writes, [`PackKey`], [`Trailer`] and [`Table`] read,
//! [`FrameBuilder`], [`DeltaFrameBuilder`] and [`FrameBytes`] turn chunks into frame bodies and back.

mod align;
mod delta;
mod frame;
mod parity;
mod read;
mod table;
mod write;

pub use delta::{BASES_MAX, Bases, DICTIONARY_BYTES_MAX, Delta, SLICES_MAX, Slice, decode_delta, encode_delta};
pub use frame::{
    DeltaFrameBuilder, FRAME_CHUNKS_MAX, Frame, FrameBuilder, FrameBytes, Stored, StoredDelta, VerifyError,
};
pub use parity::{mend, spoil_parity};
pub use read::{PackKey, Trailer, decode_table};
pub use table::{ChunkInfo, FrameInfo, StoredTable, Table};
pub use write::{PackBuilder, Packed, padded_len};

use crate::seal::{HEADER_BYTES, WRAP_BYTES};

/// Length of header and wrap: where the first frame begins.
pub const HEAD_BYTES: usize = HEADER_BYTES + WRAP_BYTES;
/// Length of the trailer.
pub const TRAILER_BYTES: usize = 16;
/// Longest raw content of a frame, and longest chunk. Bytes.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Longest pack that is read. Bytes.
pub const PACK_BYTES_MAX: u64 = 256 << 20;
const TRAILER_MAGIC: &[u8; 4] = b"KCAP";
