//! The command line: reads what was typed, hands it to a command, and tells how it ended.

pub mod address;
pub mod amount;
pub mod exit;
pub mod json;
pub mod keyfile;
pub mod name;
pub mod output;
pub mod paint;
pub mod password;
pub mod progress;
pub mod render;
pub mod secret_file;
pub mod signal;
pub mod source_arg;
pub mod table;
pub mod time;
