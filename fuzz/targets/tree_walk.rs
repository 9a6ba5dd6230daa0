//! The target `tree_walk`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(tree_walk);
