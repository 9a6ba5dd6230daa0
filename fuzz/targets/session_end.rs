//! The target `session_end`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(session_end);
