//! The command line: reads what was typed, hands it to a command, and tells how it ended.

pub mod exit;
pub mod paint;
pub mod render;
pub mod table;
