# From the committed binary to a standard environment: bash and the file tools, then stdenv.
{ lib, system }:
let
  machine = lib.head (builtins.match "(.*)-linux" system);

  hostPlatform = {
    inherit system;
    isLinux = true;
    isx86_64 = machine == "x86_64";
    isAarch64 = machine == "aarch64";
    config = "${machine}-unknown-linux-gnu";
    rust = rec {
      rustcTarget = "${machine}-unknown-linux-gnu";
      cargoShortTarget = rustcTarget;
    };
  };

  bash = builtins.derivation {
    inherit system;
    name = "bash-stand-in-1.0";
    builder = ../bootstrap + "/${system}/kit";
    args = [
      "sh"
      "-e"
      ../bootstrap/install.sh
    ];
    kit = ../bootstrap + "/${system}/kit";
  };

  setup = builtins.derivation {
    inherit system bash;
    name = "stdenv-linux";
    builder = "${bash}/bin/bash";
    args = [
      "-e"
      ./install.sh
    ];
    script = ./setup.sh;
  };

  stdenv = setup // {
    inherit hostPlatform mkDerivation;
    buildPlatform = hostPlatform;
    targetPlatform = hostPlatform;
    shell = "${bash}/bin/bash";
  };

  # Attributes that describe a package and are not seen by its build.
  silent = [
    "meta"
    "passthru"
    "env"
  ];

  mkDerivation =
    args:
    let
      attrs = if builtins.isFunction args then lib.fix (final: args final) else args;
      name = attrs.name or "${attrs.pname}-${attrs.version}";
      drv = builtins.derivation (
        lib.filterAttrs (_: value: value != null) (removeAttrs attrs silent)
        // attrs.env or { }
        // {
          inherit name system;
          stdenv = setup;
          builder = "${bash}/bin/bash";
          args = [
            "-e"
            ./builder.sh
          ];
        }
      );
    in
    drv
    // attrs.passthru or { }
    // {
      inherit stdenv;
      pname = attrs.pname or name;
      version = attrs.version or "";
      nativeBuildInputs = attrs.nativeBuildInputs or [ ];
      buildInputs = attrs.buildInputs or [ ];
      propagatedBuildInputs = attrs.propagatedBuildInputs or [ ];
      passthru = attrs.passthru or { };
      meta = { inherit name; } // attrs.meta or { };
      overrideAttrs = change: mkDerivation (attrs // (if builtins.isFunction change then change attrs else change));
    };
in
{
  inherit bash stdenv;
}
