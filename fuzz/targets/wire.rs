//! The target `wire`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(wire);
