# The files that a build reads, and no others: documentation, analysis and CI configuration may change
# without a rebuild.
{ lib }:
let
  root = ../.;

  isCrate =
    name:
    lib.any (prefix: lib.hasPrefix prefix name) [
      "core-"
      "daemon-"
      "platform-"
      "extension-"
      "sesame-"
    ]
    || lib.elem name [
      "open-sesame"
      "xtask"
    ];

  crates = lib.filter isCrate (lib.attrNames (builtins.readDir root));
in
lib.fileset.toSource {
  inherit root;
  fileset = lib.fileset.unions (
    [
      ../Cargo.toml
      ../Cargo.lock
      ../rust-toolchain.toml
      ../config.example.toml
      ../.cargo
      ../contrib
    ]
    ++ map (name: root + "/${name}") crates
  );
}
