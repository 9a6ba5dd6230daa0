//! The target `config`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(config);
