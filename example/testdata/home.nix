# Evaluates the Home Manager module of a flake, with the options of Home Manager that it sets declared
# as plainly as possible: what it configures comes out as data.
{
  flake,
  system ? "x86_64-linux",
  settings ? { },
}:
let
  inputs = flake.inputs;
  # A package first: it is what makes Nix before 2.26 find the relative input (see flake.nix).
  lib = builtins.seq flake.packages.${system}.default inputs.nixpkgs.lib;
  inherit (lib) mkOption types;
  any = mkOption {
    type = types.attrsOf types.anything;
    default = { };
  };

  home =
    { ... }:
    {
      options = {
        home.packages = mkOption {
          type = types.listOf types.package;
          default = [ ];
        };
        xdg.configFile = any;
        systemd.user = {
          services = any;
          targets = any;
          sessionVariables = any;
          tmpfiles.rules = mkOption {
            type = types.listOf types.str;
            default = [ ];
          };
        };
      };
    };

  evaluated = lib.evalModules {
    specialArgs.pkgs = inputs.nixpkgs.legacyPackages.${system};
    modules = [
      home
      flake.homeManagerModules.default
      { programs.open-sesame = settings; }
    ];
  };
in
{
  inherit (evaluated.config) systemd;
  packages = map (p: p.name) evaluated.config.home.packages;
  configFile = builtins.mapAttrs (_: file: file.source.text or (toString file.source)) evaluated.config.xdg.configFile;
}
