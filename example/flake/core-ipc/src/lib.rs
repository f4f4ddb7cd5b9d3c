//! The bus between the daemons.
