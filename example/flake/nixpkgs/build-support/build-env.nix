# One tree of links to several packages, made by the builder that `nix profile` itself uses. It
# follows nix-support/propagated-user-env-packages, at a lower priority.
{ writeText }:
{
  name,
  paths,
}:
builtins.derivation {
  inherit name;
  system = "builtin";
  builder = "builtin:buildenv";
  manifest = writeText "${name}-manifest" (builtins.concatStringsSep "\n" (map toString paths));
  derivations = map (p: [ "true" (toString (p.meta.priority or 5)) 1 p ]) paths;
}
