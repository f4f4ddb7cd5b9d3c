//! What an extension is written against.
