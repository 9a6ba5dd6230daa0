//! The target `trailer`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(trailer);
