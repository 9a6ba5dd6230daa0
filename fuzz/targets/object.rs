//! The target `object`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(object);
