//! Stand-in for the client toolkit.
