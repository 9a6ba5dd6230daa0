//! The target `index`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(index);
