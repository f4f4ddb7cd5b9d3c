//! Fuzzy matching for the launcher.
