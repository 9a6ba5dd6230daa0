//! The target `delta`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(delta);
