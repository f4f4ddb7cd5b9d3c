//! Identifiers and messages that all crates share.
