# Returns the answers that the evaluated checks need about a flake, for one system, as a value for JSON.
# The contract is in `ask` (see expression.go). The Go code checks the answers.
#
# Answers are independent: one that throws is marked, and the others are still returned. A caught error loses its
# message. To get the message, `only` selects a single answer, whose errors are not caught.
{
  flake,
  system,
  ask,
  only ? null,
}:
let
  # The contract, as the Go code has it: a section or a list that it lacks is null.
  inherit (ask) contract;
  list = value: if value == null then [ ] else value;
  section = name: if contract.${name} == null then { } else contract.${name};
  required = contract.Outputs;
  filter = section "SourceFilter";
  manager = section "HomeManager";
  attributeSet = builtins.listToAttrs (map (name: { inherit name; value = true; }) ask.attributes);
  nixpkgsInput = let name = (section "Lock").Nixpkgs or ""; in if name == "" then "nixpkgs" else name;
  pathOf = name: builtins.filter builtins.isString (builtins.split "\\." name);

  caught =
    answer:
    let
      json = builtins.tryEval (builtins.toJSON answer);
    in
    if json.success then { value = builtins.fromJSON (builtins.unsafeDiscardStringContext json.value); } else { thrown = true; };

  named =
    prefix: names: f:
    builtins.listToAttrs (
      map (name: {
        name = "${prefix}/${name}";
        value = f name;
      }) names
    );

  isDerivation = x: (x.type or null) == "derivation";
  derivation = x: if isDerivation x then x.drvPath else null;

  # The position of an attribute, where that is in the flake's own tree.
  position =
    name: attributes:
    let
      at = builtins.unsafeGetAttrPos name attributes;
      root = "${flake.outPath}/";
      length = builtins.stringLength root;
    in
    if at == null || builtins.substring 0 length at.file != root then
      null
    else
      {
        file = builtins.substring length (-1) at.file;
        inherit (at) line;
      };

  # A package is evaluated first: Nix before 2.26 finds an input with a relative path only when it is in the store.
  nixpkgs = builtins.seq (builtins.tryEval (flake.packages.${system} or null)) flake.inputs.${nixpkgsInput};
  pkgs = nixpkgs.legacyPackages.${system} or (throw "the input ${nixpkgsInput} has no legacyPackages.${system}");
  inherit (nixpkgs) lib;

  # Outputs ----------------------------------------------------------------------------------------

  package =
    name:
    let
      p = flake.packages.${system}.${name};
      attributes = p.drvAttrs or p;
    in
    if !isDerivation (flake.packages.${system}.${name} or null) then
      null
    else
      {
        derivation = p.drvPath;
        output = p.outPath;
        # Lists and strings, as the build sees them.
        attributes = builtins.mapAttrs (_: toString) (builtins.intersectAttrs attributeSet attributes);
        # The position of pname is the fallback for attributes without one.
        positions = builtins.listToAttrs (
          map (name: {
            inherit name;
            value = position name attributes;
          }) ([ "pname" "src" ] ++ ask.attributes)
        );
      };

  overlay =
    name:
    let
      needed = builtins.filter (o: o != null) (map (path: lib.attrByPath (pathOf path) null flake.inputs) (list required.OverlayNeeds));
      extended = import nixpkgs {
        inherit system;
        overlays = needed ++ [ flake.overlays.${name} ];
      };
    in
    if !(flake ? overlays.${name}) then
      null
    else
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = derivation (extended.${name} or null);
        }) (list required.OverlayPackages)
      );

  # The position of a function is that of its arguments.
  module =
    name:
    let
      m = flake.homeManagerModules.${name};
      arguments = if builtins.isFunction m then builtins.functionArgs m else { };
      positions = builtins.filter (at: at != null) (map (argument: position argument arguments) (builtins.attrNames arguments));
    in
    if !(flake ? homeManagerModules.${name}) then null else { file = if positions == [ ] then "" else (builtins.head positions).file; };

  # Source filter ----------------------------------------------------------------------------------

  # The flake without the files at or below some paths, and with another commit, made as by call-flake.nix of Nix.
  # Directories stay, so that a reference to one still works.
  without =
    paths:
    let
      root = toString flake.outPath;
      below = dir: path: builtins.substring 0 (builtins.stringLength dir + 1) "${path}/" == "${dir}/";
      isGone = path: builtins.any (gone: below "${root}/${gone}" path) paths;
      tree = builtins.path {
        name = "source";
        path = flake.outPath;
        filter = path: type: type == "directory" || !(isGone path);
      };
      sourceInfo = flake.sourceInfo or { } // {
        outPath = tree;
        rev = "0000000000000000000000000000000000000000";
        shortRev = "0000000";
        lastModified = 1;
        lastModifiedDate = "19700101000001";
        narHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
      };
      file =
        if builtins.pathExists "${tree}/flake.nix" then
          "${tree}/flake.nix"
        else
          throw "the flake is not at the root of its tree, and its source filter cannot be evaluated";
      outputs = (import file).outputs (flake.inputs // { inherit self; });
      self = outputs // sourceInfo // {
        inherit outputs sourceInfo;
        inherit (flake) inputs;
      };
    in
    self;

  inTree = builtins.filter (path: builtins.pathExists "${flake.outPath}/${path}");
  # Where there are no such files, the commit still changes.
  unread = without (inTree (list filter.Ignores));

  source =
    name:
    let
      p = flake.packages.${system}.${name};
      src = p.src or null;
      # If it does not evaluate without the file, the package depends on it too.
      changes = other: builtins.tryEval other.packages.${system}.${name}.drvPath != { success = true; value = p.drvPath; };
      ignored = inTree (list filter.Ignores);
      guilty = builtins.filter (path: changes (without [ path ])) ignored;
    in
    if !isDerivation (flake.packages.${system}.${name} or null) then
      null
    else
      {
        inherit ignored;
        # First one tree without all of them; only if that differs, one tree for each.
        changedBy = if !(changes unread) then [ ] else if guilty == [ ] then [ "the commit" ] else guilty;
        # The store path of a source is computed from its contents, and is part of the derivation. Outputs of builds are ignored.
        plain = src != null && !(isDerivation src);
        followed = inTree (list filter.Follows);
        lacks = builtins.filter (path: !(builtins.pathExists "${src}/${path}")) (inTree (list filter.Follows));
      };

  # Home Manager -----------------------------------------------------------------------------------

  anything =
    type:
    lib.mkOption {
      type = type lib.types.anything;
      default = { };
    };
  listOf =
    type:
    lib.mkOption {
      type = lib.types.listOf type;
      default = [ ];
    };
  text =
    default:
    lib.mkOption {
      type = lib.types.str;
      inherit default;
    };

  # The options of Home Manager that a module like this one sets or reads, declared as simply as possible.
  home.options = {
    home = {
      packages = listOf lib.types.package;
      file = anything lib.types.attrsOf;
      activation = anything lib.types.attrsOf;
      sessionVariables = anything lib.types.attrsOf;
      username = text "sesame";
      homeDirectory = text "/home/sesame";
    };
    xdg = {
      configFile = anything lib.types.attrsOf;
      dataFile = anything lib.types.attrsOf;
      configHome = text "/home/sesame/.config";
      cacheHome = text "/home/sesame/.cache";
      dataHome = text "/home/sesame/.local/share";
    };
    systemd.user = {
      services = anything lib.types.attrsOf;
      targets = anything lib.types.attrsOf;
      sockets = anything lib.types.attrsOf;
      timers = anything lib.types.attrsOf;
      sessionVariables = anything lib.types.attrsOf;
      tmpfiles.rules = listOf lib.types.str;
    };
    assertions = listOf lib.types.anything;
    warnings = listOf lib.types.str;
  };

  # What the modules configure, by Home Manager itself where its reference is given.
  evaluated =
    modules:
    if ask.homeManager == "" then
      (lib.evalModules {
        specialArgs = { inherit pkgs; };
        modules = [ home ] ++ modules;
      }).config
    else
      ((builtins.getFlake ask.homeManager).lib.homeManagerConfiguration {
        inherit pkgs;
        modules = [
          {
            home = {
              username = "sesame";
              homeDirectory = "/home/sesame";
              stateVersion = "24.05";
            };
          }
        ] ++ modules;
      }).config;

  configured =
    settings:
    evaluated [
      flake.homeManagerModules.${manager.Module}
      { config = lib.setAttrByPath (pathOf manager.Option) settings; }
    ];

  # A generated file is a derivation. Its contents are in its attributes: as text, or as JSON that a program of nixpkgs
  # converts to TOML.
  contents =
    file:
    if (file.text or null) != null then
      { inherit (file) text; }
    else if file.source ? text then
      { inherit (file.source) text; }
    else if file.source ? value then
      { json = file.source.value; }
    else if isDerivation file.source then
      { derivation = file.source.name; }
    else
      { text = builtins.readFile file.source; };

  # What a configuration has without the module does not come from the module. Only the real Home Manager adds any of it.
  bare = evaluated [ ];
  view =
    config:
    let
      own = get: removeAttrs (get config) (builtins.attrNames (get bare));
      ownOf = get: builtins.filter (x: !(builtins.elem x (get bare))) (get config);
    in
    {
      services = own (c: c.systemd.user.services);
      targets = own (c: c.systemd.user.targets);
      sessionVariables = own (c: c.systemd.user.sessionVariables);
      tmpfiles = ownOf (c: c.systemd.user.tmpfiles.rules);
      packages = ownOf (c: map toString c.home.packages);
      files = builtins.mapAttrs (name: file: if name == manager.ConfigFile then contents file else { }) (own (c: c.xdg.configFile));
      refused = map (a: a.message) (builtins.filter (a: !a.assertion) config.assertions);
      # The type is checked even where the value is not used.
      logLevel = (lib.attrByPath (pathOf manager.Option) { } config).logLevel or null;
    };

  stranger = builtins.derivation {
    inherit system;
    name = "contract-stranger";
    builder = "/bin/sh";
  };

  modes = {
    disabled = { };
    desktop.enable = true;
    headless = {
      enable = true;
      headless = true;
    };
    package = {
      enable = true;
      package = stranger;
    };
    both = {
      enable = true;
      inherit (ask) settings profiles;
    };
    settings = {
      enable = true;
      inherit (ask) settings;
    };
    profiles = {
      enable = true;
      inherit (ask) profiles;
    };
  };

  # A missing module is reported once, among the outputs.
  ifThere = answer: if flake ? homeManagerModules.${manager.Module} then answer else null;
  mode = name: ifThere (view (configured modes.${name}) // { stranger = stranger.outPath; });
  logLevel =
    logLevel:
    ifThere (
      view (configured {
        enable = true;
        inherit logLevel;
      })
    );

  levels = list (manager.LogLevels or null);

  answers =
    named "package" (list ask.packages) package
    // named "overlay" (if required.Overlay == "" then [ ] else [ required.Overlay ]) overlay
    // named "module" (list required.Modules) module
    // named "shell" (list required.DevShells) (name: derivation (flake.devShells.${system}.${name} or null))
    // named "source" (list (filter.Packages or null)) source
    // (if manager == { } then { } else { "home/bare" = ifThere (builtins.seq pkgs (view bare)); })
    // named "home" (if manager == { } then [ ] else builtins.attrNames modes) mode
    // named "level" (if levels == [ ] then [ ] else levels ++ [ ask.badLevel ]) logLevel;
in
if only == null then builtins.mapAttrs (_: caught) answers else answers.${only}
