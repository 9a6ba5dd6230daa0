//! The target `snapshot_body`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(snapshot_body);
