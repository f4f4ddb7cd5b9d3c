//! Keys in locked memory, and what is sealed with them.
