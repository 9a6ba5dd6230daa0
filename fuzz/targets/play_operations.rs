//! The target `play_operations`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(play_operations);
