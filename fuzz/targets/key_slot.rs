//! The target `key_slot`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(key_slot);
