# rustPlatform: a Rust package from its workspace, its lock file and the hashes of its git sources.
{
  lib,
  stdenv,
  runCommand,
  fetchgit,
  cargo,
  rustc,
}:
let
  # "git+https://host/repo?rev=abc#abcdef" has a URL and, after the #, the commit that was locked.
  parseSource =
    source:
    let
      parts = builtins.match "git\\+([^?#]+)(\\?[^#]*)?#(.*)" source;
    in
    {
      url = builtins.elemAt parts 0;
      rev = builtins.elemAt parts 2;
    };

  importCargoLock =
    {
      lockFile,
      outputHashes ? { },
    }:
    let
      packages = (lib.importTOML lockFile).package;
      named = package: "${package.name}-${package.version}";
      fromGit = lib.filter (p: lib.hasPrefix "git+" (p.source or "")) packages;
      fromRegistry = lib.filter (p: lib.hasPrefix "registry+" (p.source or "")) packages;

      # Packages of one repository share a checkout, hence a hash: giving it for one of them will do.
      hashOfRev = lib.listToAttrs (
        lib.concatMap (
          p: lib.optional (outputHashes ? ${named p}) (lib.nameValuePair (parseSource p.source).rev outputHashes.${named p})
        ) fromGit
      );
      missing =
        package:
        throw ''
          No hash was found while vendoring the git dependency ${named package}. You can add
          a hash through the `outputHashes` argument of `importCargoLock`:

          outputHashes = {
            "${named package}" = "<hash>";
          };

          If you use `buildRustPackage`, you can add this attribute to the `cargoLock`
          attribute set.
        '';
      checkout =
        package:
        let
          source = parseSource package.source;
        in
        fetchgit {
          inherit (source) url rev;
          hash = hashOfRev.${source.rev} or (missing package);
        };

      stale = lib.attrNames (removeAttrs outputHashes (map named fromGit));
      vendor = package: "vendor ${named package} ${package.name} ${checkout package}";
    in
    if stale != [ ] then
      throw "A hash was specified for ${lib.head stale}, but there is no corresponding git dependency."
    else if fromRegistry != [ ] then
      throw "${named (lib.head fromRegistry)} comes from a registry, and the stand-in for nixpkgs has none."
    else
      runCommand "cargo-vendor-dir" { } ''
        # vendor NAME-VERSION NAME CHECKOUT: the crate may be the repository's root or one of its folders.
        vendor() {
            local manifest
            for manifest in $3/Cargo.toml $3/*/Cargo.toml; do
                if grep -qF "name = \"$2\"" $manifest; then
                    ln -s $(dirname $manifest) $out/$1
                    return 0
                fi
            done
            echo "error: Cannot find path for crate '$1' in the tree in: $3" >&2
            return 1
        }
        mkdir -p $out
        ${lib.concatMapStringsSep "\n" vendor fromGit}
      '';
in
{
  inherit importCargoLock;

  buildRustPackage =
    {
      cargoLock,
      cargoBuildFlags ? [ ],
      cargoTestFlags ? [ ],
      buildNoDefaultFeatures ? false,
      checkNoDefaultFeatures ? buildNoDefaultFeatures,
      nativeBuildInputs ? [ ],
      doCheck ? true,
      ...
    }@args:
    let
      flags =
        noDefault: extra:
        lib.escapeShellArgs (
          [
            "--release"
            "--offline"
            "--target"
            stdenv.hostPlatform.rust.rustcTarget
          ]
          ++ lib.optional noDefault "--no-default-features"
          ++ extra
        );
    in
    stdenv.mkDerivation (
      removeAttrs args [
        "cargoLock"
        "cargoBuildFlags"
        "cargoTestFlags"
        "buildNoDefaultFeatures"
        "checkNoDefaultFeatures"
      ]
      // {
        inherit doCheck;
        cargoDeps = importCargoLock cargoLock;
        nativeBuildInputs = [
          cargo
          rustc
        ] ++ nativeBuildInputs;
        buildPhase =
          args.buildPhase or ''
            runHook preBuild
            echo "Executing cargoBuildHook"
            cargo build ${flags buildNoDefaultFeatures cargoBuildFlags}
            echo "Finished cargoBuildHook"
            runHook postBuild
          '';
        checkPhase =
          args.checkPhase or ''
            runHook preCheck
            echo "Executing cargoCheckHook"
            cargo test ${flags checkNoDefaultFeatures cargoTestFlags}
            echo "Finished cargoCheckHook"
            runHook postCheck
          '';
      }
    );
}
