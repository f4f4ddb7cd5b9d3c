{
  description = "A small stand-in for nixpkgs: what the example flake uses of it, building offline";

  outputs =
    { self }:
    let
      lib = import ./lib;
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (system: import self { inherit system; });
    };
}
