//! The target `chunk_list`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(chunk_list);
