//! The target `tree_node`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(tree_node);
