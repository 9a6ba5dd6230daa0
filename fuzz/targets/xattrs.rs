//! The target `xattrs`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(xattrs);
