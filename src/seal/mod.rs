//! Compress, encrypt, bind to kind and place; and the way back.

mod codec;
mod header;
mod object;
mod parity;

pub use codec::{Codec, Compressor, Decompressor, Probe, decompress};
pub use header::{HEADER_BYTES, Header, ObjectKind};
pub use object::{
    OpenError, Section, SessionSecrets, WRAP_BYTES, Wrap, add_parity, mend_object, open_section, sections, write_object,
};
pub use parity::{Goal, PARITY_BYTES_MAX, Parity, SECTOR_BYTES, mend_stripes};
