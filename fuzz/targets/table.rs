//! The target `table`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(table);
