//! The target `snapshot_summary`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(snapshot_summary);
