# The package set of one system, with overlays applied: `import nixpkgs { inherit system; }`.
{
  system,
  overlays ? [ ],
  config ? { },
}:
let
  lib = import ./lib;
  base = final: import ./pkgs.nix { inherit lib system config; } final;
in
lib.fix (lib.foldl' (lib.flip lib.extends) base overlays)
