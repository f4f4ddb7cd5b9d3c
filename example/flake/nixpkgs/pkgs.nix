# The packages of one system, as a function of the final set so that overlays can replace any of them.
{
  lib,
  system,
  config,
}:
final:
let
  bootstrap = import ./stdenv/bootstrap.nix { inherit lib system; };
  trivial = import ./build-support/trivial.nix { inherit lib; inherit (final) stdenv; };

  callPackageWith =
    set: file: args:
    let
      f = if builtins.isFunction file then file else import file;
    in
    lib.makeOverridable f (builtins.intersectAttrs (builtins.functionArgs f) set // args);
  callPackage = callPackageWith final;

  # A native library is a pkg-config file, so that whoever forgets to list it fails to link, and a
  # shared object for the path in its RUNPATH to lead to.
  library =
    pname: version:
    final.stdenv.mkDerivation {
      inherit pname version;
      dontUnpack = true;
      installPhase = ''
        mkdir -p $out/lib/pkgconfig
        elf $out/lib/lib${lib.removePrefix "lib" pname}.so "${pname} ${version}"
        echo "Name: ${pname}" > $out/lib/pkgconfig/${pname}.pc
        echo "Version: ${version}" >> $out/lib/pkgconfig/${pname}.pc
        echo "Libs: -L$out/lib" >> $out/lib/pkgconfig/${pname}.pc
      '';
    };
in
trivial
// {
  inherit lib system config callPackage;
  pkgs = final;
  newScope = extra: callPackageWith (final // extra);

  inherit (bootstrap) bash stdenv;
  mkShell = callPackage ./build-support/mk-shell.nix { };
  buildEnv = callPackage ./build-support/build-env.nix { };
  formats = import ./build-support/formats.nix { inherit lib; inherit (final) writeText; };

  fetchgit = callPackage ./build-support/fetchgit.nix { };
  makeWrapper = final.makeSetupHook { name = "make-wrapper-hook"; } ./build-support/make-wrapper.sh;
  installShellFiles = final.makeSetupHook { name = "install-shell-files"; } ./build-support/install-shell-files.sh;
  pkg-config = final.writeScript "pkg-config" "0.29.2" ./build-support/pkg-config.sh;

  rustc = final.writeScript "rustc" "1.89.0" ./rust/rustc.sh;
  cargo = final.writeScript "cargo" "1.89.0" ./rust/cargo.sh;
  rustfmt = final.writeScript "rustfmt" "1.89.0" ./rust/no-op.sh;
  clippy = final.writeScript "cargo-clippy" "1.89.0" ./rust/no-op.sh;
  rustPlatform = callPackage ./rust { };

  openssl = library "openssl" "3.5.2";
  libseccomp = library "libseccomp" "2.6.0";
  fontconfig = library "fontconfig" "2.17.1";
  wayland = library "wayland-client" "1.24.0";
  wayland-protocols = library "wayland-protocols" "1.45";
  libxkbcommon = library "xkbcommon" "1.11.0";
  xkeyboard-config = callPackage ./build-support/xkeyboard-config.nix { };
}
