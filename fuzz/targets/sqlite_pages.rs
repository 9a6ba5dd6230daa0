//! The target `sqlite_pages`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(sqlite_pages);
