//! Sandboxing of a daemon: seccomp, Landlock, resource limits.
