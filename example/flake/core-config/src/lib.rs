//! Reads config.toml, version 3, and tells trust profiles apart.
