//! The target `frame`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(frame);
