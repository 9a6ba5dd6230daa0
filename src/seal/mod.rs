//! Compress, encrypt, bind to kind and place; and the way back.

mod codec;
mod header;
mod object;

pub use codec::{Codec, Compressor, Decompressor, Probe, decompress};
pub use header::{HEADER_BYTES, Header, ObjectKind};
pub use object::{OpenError, Section, SessionSecrets, WRAP_BYTES, Wrap, open_section, sections, write_object};
