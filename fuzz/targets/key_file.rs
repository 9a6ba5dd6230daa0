//! The target `key_file`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(key_file);
