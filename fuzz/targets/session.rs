//! The target `session`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(session);
