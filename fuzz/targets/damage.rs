//! The target `damage`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(damage);
