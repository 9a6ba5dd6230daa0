//! The target `address`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(address);
