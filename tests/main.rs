//! All integration tests, in one binary. A module of tests that is not named here is noticed by `architecture`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
mod format;
mod readme;
