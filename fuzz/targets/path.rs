//! The target `path`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(path);
