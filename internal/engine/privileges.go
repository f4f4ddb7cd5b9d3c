package engine

// NoPrivileges is the text of an engine's error where its owner denies what Nix needs for a sandbox.
const NoPrivileges = "the engine does not allow privileged containers"
