//! The one suite that every store and wrapper passes.
