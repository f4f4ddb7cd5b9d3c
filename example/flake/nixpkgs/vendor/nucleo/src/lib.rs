//! Stand-in for the fuzzy matcher.
