# A development shell: its inputs are those asked for, and those that the packages in inputsFrom need.
{ lib, stdenv }:
{
  name ? "nix-shell",
  packages ? [ ],
  inputsFrom ? [ ],
  nativeBuildInputs ? [ ],
  buildInputs ? [ ],
  ...
}@args:
let
  wanted = kind: lib.unique (lib.filter (p: !(lib.elem p inputsFrom)) (lib.concatMap (p: p.${kind}) inputsFrom));
in
stdenv.mkDerivation (
  removeAttrs args [
    "packages"
    "inputsFrom"
  ]
  // {
    inherit name;
    nativeBuildInputs = packages ++ nativeBuildInputs ++ wanted "nativeBuildInputs";
    buildInputs = buildInputs ++ wanted "buildInputs" ++ wanted "propagatedBuildInputs";
    phases = [ "buildPhase" ];
    # Realising a shell is of use to keep its inputs from being collected: the output names them.
    buildPhase = ''
      echo "$nativeBuildInputs $buildInputs" > $out
    '';
  }
)
