//! The target `entry`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(entry);
