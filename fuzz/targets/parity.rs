//! The target `parity`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(parity);
