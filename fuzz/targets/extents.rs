//! The target `extents`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(extents);
