# A stand-in for nixpkgs: that of the example flake, which the test copies to base, with what the flake of this
# repository uses besides. buildGoModule does not compile: it installs the file program as `go install` would install ci.
{
  outputs =
    { self }:
    let
      lib = import ./base/lib;
      overlay =
        final: _prev:
        let
          noOp = name: version: final.writeScript name version ./base/rust/no-op.sh;
        in
        {
          git = noOp "git" "2.54.0";
          gnumake = noOp "make" "4.4.1";
          go = noOp "go" "1.26.7";
          gopls = noOp "gopls" "0.21.1";

          buildGoModule =
            arguments:
            final.stdenv.mkDerivation (
              removeAttrs arguments [ "vendorHash" ]
              // {
                dontUnpack = true;
                GORACE = "atexit_sleep_ms=0"; # else each call of a program with the race detector takes a second
                installPhase = ''
                  mkdir -p $out/bin
                  cp ${self}/program $out/bin/ci
                  ${arguments.postInstall}
                '';
                postInstall = "";
              }
            )
            // {
              inherit arguments;
            };
        };
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [
        "x86_64-linux"
        "aarch64-linux"
      ] (system: import ./base { inherit system; overlays = [ overlay ]; });
    };
}
