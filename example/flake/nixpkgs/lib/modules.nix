# The module system: options declared in some modules, defined in others, merged by type and priority.
lib:
let
  inherit (lib) concatMap concatStringsSep;

  isType = type: x: builtins.isAttrs x && (x._type or null) == type;

  priority = {
    force = 50;
    normal = 100;
    default = 1000;
    optionDefault = 1500;
  };

  showOption = concatStringsSep ".";
  showValue =
    x:
    if builtins.isFunction x then
      "<function>"
    else if lib.isDerivation x then
      "<derivation ${x.name}>"
    else if builtins.isAttrs x then
      "{ ${concatStringsSep " " (lib.mapAttrsToList (name: value: "${name} = ${showValue value};") x)} }"
    else if builtins.isList x then
      "[ ${concatStringsSep " " (map showValue x)} ]"
    else if builtins.isPath x then
      toString x
    else
      builtins.toJSON x;
  showDefs = defs: lib.concatMapStrings (def: "\n- In `${def.file}': ${showValue def.value}") defs;

  setFile = file: value: {
    _file = file;
    imports = [ value ];
  };

  # Modules come as paths, functions or sets, with or without separate `options` and `config`.
  load =
    args: file: module:
    let
      here = if builtins.isPath module || builtins.isString module then toString module else file;
      loaded = if builtins.isPath module || builtins.isString module then import module else module;
      applied = if builtins.isFunction loaded then loaded (builtins.mapAttrs (name: _: args name) (builtins.functionArgs loaded) // args null) else loaded;
      at = applied._file or here;
      explicit = applied ? options || applied ? config;
      reserved = [
        "_file"
        "key"
        "imports"
        "freeformType"
      ];
    in
    concatMap (load args at) (applied.imports or [ ])
    ++ [
      {
        file = at;
        options = applied.options or { };
        config = if explicit then applied.config or { } else removeAttrs applied reserved;
        freeform = applied.freeformType or null;
      }
    ];

  # `mkIf c { a = 1; }` means `{ a = mkIf c 1; }`: conditions move inwards until they meet an option,
  # so that the names in a module never depend on its conditions.
  pushDown =
    x:
    if isType "merge" x then
      concatMap pushDown x.contents
    else if isType "if" x then
      map (builtins.mapAttrs (_: mkIf x.condition)) (pushDown x.content)
    else if isType "override" x then
      map (builtins.mapAttrs (_: mkOverride x.priority)) (pushDown x.content)
    else
      [ x ];

  # What a definition comes to once conditions are known: a list of values with priorities.
  discharge =
    x:
    if isType "merge" x then
      concatMap discharge x.contents
    else if isType "if" x then
      (if x.condition then discharge x.content else [ ])
    else if isType "override" x then
      map (def: def // { inherit (x) priority; }) (discharge x.content)
    else
      [
        {
          value = x;
          priority = priority.normal;
        }
      ];

  mergeDefinitions =
    loc: type: rawDefs:
    let
      all = concatMap (def: map (d: d // { inherit (def) file; }) (discharge def.value)) rawDefs;
      best = lib.foldl' (least: def: if def.priority < least then def.priority else least) 10000 all;
      defs = builtins.filter (def: def.priority == best) all;
      wrong = builtins.filter (def: !type.check def.value) defs;
    in
    {
      isDefined = all != [ ];
      value =
        if all == [ ] then
          throw "The option `${showOption loc}' is used but not defined."
        else if wrong != [ ] then
          throw "A definition for option `${showOption loc}' is not of type `${type.description}'. Definition values:${showDefs wrong}"
        else
          type.merge loc defs;
    };

  evalOption =
    loc: option: defs:
    let
      default = lib.optional (option ? default) {
        file = "the option's default";
        value = mkOverride priority.optionDefault option.default;
      };
      merged = mergeDefinitions loc (option.type or lib.types.raw) (default ++ defs);
    in
    option
    // {
      inherit loc;
      inherit (merged) isDefined;
      value = (option.apply or lib.id) merged.value;
      definitions = map (def: def.value) defs;
    };

  # One level of the option tree: `decls` and `defs` are lists of { file, value }.
  evalTree =
    loc: decls: defs: freeform:
    let
      flat = concatMap (def: map (value: def // { inherit value; }) (pushDown def.value)) defs;
      group = list: builtins.zipAttrsWith (_: lib.id) (map (x: builtins.mapAttrs (_: value: { inherit (x) file; inherit value; }) x.value) list);
      declared = group decls;
      defined = group flat;
      evaluated = builtins.mapAttrs (
        name: here:
        let
          at = loc ++ [ name ];
          options = builtins.filter (d: isType "option" d.value) here;
        in
        if options == [ ] then
          evalTree at here (defined.${name} or [ ]) null
        else if builtins.length here > 1 then
          throw "The option `${showOption at}' is already declared.${lib.concatMapStrings (d: "\n- In `${d.file}'") here}"
        else
          let
            option = evalOption at (builtins.head options).value (defined.${name} or [ ]);
          in
          {
            options = option;
            config = option.value;
            unmatched = [ ];
          }
      ) declared;
      strays = removeAttrs defined (builtins.attrNames declared);
      free = lib.optionalAttrs (freeform != null) (
        (freeform.merge loc (map (def: def // { value = builtins.intersectAttrs strays def.value; }) flat))
      );
    in
    {
      options = builtins.mapAttrs (_: e: e.options) evaluated;
      config = free // builtins.mapAttrs (_: e: e.config) evaluated;
      unmatched =
        lib.optionals (freeform == null) (lib.mapAttrsToList (name: defs: { loc = loc ++ [ name ]; inherit defs; }) strays)
        ++ concatMap (e: e.unmatched) (lib.attrValues evaluated);
    };

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
      ...
    }:
    let
      # With a name: that argument; with null: those that every module gets, named or not.
      args =
        name:
        let
          common = specialArgs // {
            inherit lib;
            inherit (tree) config options;
          };
        in
        if name == null then common else common.${name} or tree.config._module.args.${name};

      internal.options._module.args = mkOption {
        type = lib.types.lazyAttrsOf lib.types.raw;
        default = { };
      };
      loaded = concatMap (load args "<unknown-file>") ([ internal ] ++ modules);
      freeforms = builtins.filter (type: type != null) (map (m: m.freeform) loaded);
      column = name: map (m: { inherit (m) file; value = m.${name}; }) loaded;
      tree = evalTree prefix (column "options") (column "config") (if freeforms == [ ] then null else lib.last freeforms);
      stray = builtins.head tree.unmatched;
      checked =
        if tree.unmatched == [ ] then
          tree.config
        else
          throw "The option `${showOption stray.loc}' does not exist. Definition values:${showDefs stray.defs}";
    in
    {
      config = removeAttrs checked [ "_module" ];
      options = removeAttrs tree.options [ "_module" ];
    };

  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  mkOption = option: option // { _type = "option"; };
in
{
  inherit
    evalModules
    mergeDefinitions
    mkIf
    mkOption
    mkOverride
    setFile
    showDefs
    showOption
    ;
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkDefault = mkOverride priority.default;
  mkForce = mkOverride priority.force;
  mkEnableOption =
    name:
    mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = "Whether to enable ${name}.";
    };
  literalExpression = text: {
    _type = "literalExpression";
    inherit text;
  };
}
