//! Projects and the directories they live in.
