//! The target `tomb`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(tomb);
