{
  description = "Builds the packages of a Nix flake for release";

  # nixos-26.05 has Go 1.26.7, and go.mod needs 1.26. flake.lock was written by hand: see CONTRIBUTING.md.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      forAllSystems =
        f:
        nixpkgs.lib.genAttrs [
          "x86_64-linux"
          "aarch64-linux"
        ] (system: f nixpkgs.legacyPackages.${system});

      # The source that Nix builds has no .git, so Go cannot record the commit.
      package =
        pkgs:
        pkgs.callPackage ./nix/package.nix {
          commit = self.rev or self.dirtyRev or "";
          commitTime = self.lastModifiedDate or "";
        };
    in
    {
      overlays.default = final: _prev: { open-sesame-ci = package final; };

      packages = forAllSystems (pkgs: rec {
        open-sesame-ci = package pkgs;
        default = open-sesame-ci;
      });

      # The linters are tools of go.mod.
      devShells = forAllSystems (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.git
            pkgs.gnumake
            pkgs.go
            pkgs.gopls
          ];
        };
      });
    };
}
