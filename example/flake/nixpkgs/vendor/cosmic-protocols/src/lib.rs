//! Stand-in for the protocol bindings.
