{
  description = "Open Sesame: a programmable desktop suite";

  nixConfig = {
    extra-substituters = [ "https://scopecreep-zip.cachix.org" ];
    extra-trusted-public-keys = [
      "scopecreep-zip.cachix.org-1:LPiVDsYXJvgljVfZPN43zBWB7ZCGFr2jZ/lBinnPGvU="
    ];
  };

  # A stand-in that builds offline; with github:NixOS/nixpkgs/nixos-unstable nothing else would change.
  inputs.nixpkgs.url = "path:./nixpkgs";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];

      # Nix before 2.26 looks for an input with a relative path only in the store, by the NAR hash in
      # flake.lock, and never copies it there. So it is put there before it is asked for.
      lib = builtins.seq (builtins.path {
        name = "source";
        path = ./nixpkgs;
      }) nixpkgs.lib;

      forAllSystems =
        f:
        lib.genAttrs systems (
          system:
          f (
            import nixpkgs {
              inherit system;
              overlays = [ self.overlays.default ];
            }
          )
        );
    in
    {
      overlays.default = final: _prev: {
        open-sesame = final.callPackage ./nix/package.nix { };
        open-sesame-desktop = final.callPackage ./nix/package-desktop.nix { };
      };

      packages = forAllSystems (pkgs: {
        inherit (pkgs) open-sesame open-sesame-desktop;
        default = pkgs.open-sesame-desktop;
      });

      homeManagerModules.default = import ./nix/hm-module.nix self;

      devShells = forAllSystems (pkgs: {
        default = pkgs.mkShell {
          packages = with pkgs; [
            cargo
            clippy
            rustc
            rustfmt
          ];
          inputsFrom = with pkgs; [
            open-sesame
            open-sesame-desktop
          ];
        };
      });
    };
}
