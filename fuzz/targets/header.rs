//! The target `header`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(header);
