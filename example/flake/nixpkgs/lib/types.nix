# Option types. A type says what it accepts (check) and how several definitions become one (merge);
# a definition is a pair of the file it came from and its value.
lib:
let
  inherit (lib) concatStringsSep concatMapStringsSep;

  mkOptionType =
    {
      name,
      description ? name,
      check ? _: true,
      merge ? mergeEqual,
      ...
    }@type:
    type // { inherit name description check merge; _type = "option-type"; };

  values = map (def: def.value);

  mergeEqual =
    loc: defs:
    let
      first = (builtins.head defs).value;
    in
    if builtins.all (def: def.value == first) defs then
      first
    else
      throw "The option `${lib.showOption loc}' has conflicting definition values:${lib.showDefs defs}";

  mergeOne =
    loc: defs:
    if builtins.length defs == 1 then
      (builtins.head defs).value
    else
      throw "The option `${lib.showOption loc}' is defined multiple times while it's expected to be unique:${lib.showDefs defs}";

  # Members of a list or attribute set are definitions of their own, with their own mkIf and mkMerge.
  members = loc: type: defs: lib.mergeDefinitions loc type defs;

  simple = name: description: check: mkOptionType { inherit name description check; };

  mapType =
    name: elem:
    mkOptionType {
      inherit name;
      description = "attribute set of ${elem.description}";
      check = builtins.isAttrs;
      merge =
        loc: defs:
        let
          byName = builtins.zipAttrsWith (_: lib.id) (map (def: builtins.mapAttrs (_: value: def // { inherit value; }) def.value) defs);
          merged = builtins.mapAttrs (attr: members (loc ++ [ attr ]) elem) byName;
        in
        builtins.mapAttrs (_: m: m.value) (lib.filterAttrs (_: m: m.isDefined) merged);
    };
in
rec {
  inherit mkOptionType;

  bool = simple "bool" "boolean" builtins.isBool;
  int = simple "int" "signed integer" builtins.isInt;
  float = simple "float" "floating point number" builtins.isFloat;
  number = either int float;
  str = simple "str" "string" builtins.isString;
  path = simple "path" "path" (x: builtins.isPath x || (builtins.isString x && lib.hasPrefix "/" x) || lib.isDerivation x);
  package = simple "package" "package" (x: lib.isDerivation x || (builtins.isString x && lib.hasPrefix builtins.storeDir x));
  raw = mkOptionType {
    name = "raw";
    description = "raw value";
    merge = mergeOne;
  };
  lines = mkOptionType {
    name = "lines";
    description = "strings concatenated with \"\\n\"";
    check = builtins.isString;
    merge = _: defs: concatStringsSep "\n" (values defs);
  };
  ints = {
    unsigned = simple "unsignedInt" "unsigned integer, meaning >=0" (x: builtins.isInt x && x >= 0);
    positive = simple "positiveInt" "positive integer, meaning >0" (x: builtins.isInt x && x > 0);
    between = low: high: simple "intBetween" "integer between ${toString low} and ${toString high} (both inclusive)" (x: builtins.isInt x && low <= x && x <= high);
  };

  enum =
    allowed:
    simple "enum" "one of ${concatMapStringsSep ", " builtins.toJSON allowed}" (x: builtins.elem x allowed)
    // {
      functor.payload.values = allowed;
    };

  nullOr =
    elem:
    mkOptionType {
      name = "nullOr";
      description = "null or ${elem.description}";
      check = x: x == null || elem.check x;
      merge = loc: defs: if builtins.all (def: def.value == null) defs then null else elem.merge loc defs;
    };

  either =
    a: b:
    mkOptionType {
      name = "either";
      description = "${a.description} or ${b.description}";
      check = x: a.check x || b.check x;
      merge =
        loc: defs:
        if builtins.all a.check (values defs) then
          a.merge loc defs
        else if builtins.all b.check (values defs) then
          b.merge loc defs
        else
          mergeOne loc defs;
    };
  oneOf = types: lib.foldl' either (builtins.head types) (builtins.tail types);

  listOf =
    elem:
    mkOptionType {
      name = "listOf";
      description = "list of ${elem.description}";
      check = builtins.isList;
      merge =
        loc: defs:
        let
          one = def: x: members (loc ++ [ "[definition in ${def.file}]" ]) elem [ (def // { value = x; }) ];
          all = lib.concatMap (def: map (one def) def.value) defs;
        in
        map (m: m.value) (builtins.filter (m: m.isDefined) all);
    };

  attrsOf = mapType "attrsOf";
  lazyAttrsOf = mapType "lazyAttrsOf";
  attrs = mkOptionType {
    name = "attrs";
    description = "attribute set";
    check = builtins.isAttrs;
    merge = _: defs: lib.foldl' (a: b: a // b) { } (values defs);
  };

  anything = mkOptionType {
    name = "anything";
    merge =
      loc: defs:
      let
        every = is: builtins.all is (values defs);
      in
      if every (x: builtins.isAttrs x && !lib.isDerivation x) then
        (attrsOf anything).merge loc defs
      else if every builtins.isList then
        (listOf anything).merge loc defs
      else
        mergeEqual loc defs;
  };

  submodule =
    module:
    mkOptionType {
      name = "submodule";
      check = x: builtins.isAttrs x || builtins.isFunction x || builtins.isPath x;
      merge =
        loc: defs:
        (lib.evalModules {
          modules = [ module ] ++ map (def: lib.setFile def.file def.value) defs;
          prefix = loc;
        }).config;
    };
}
