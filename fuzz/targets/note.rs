//! The target `note`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(note);
