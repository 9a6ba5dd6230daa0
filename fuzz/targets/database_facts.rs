//! The target `database_facts`.
#![cfg_attr(fuzzing, no_main)]

larder_fuzz::binary!(database_facts);
