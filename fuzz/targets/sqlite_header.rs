//! The target `sqlite_header`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(sqlite_header);
