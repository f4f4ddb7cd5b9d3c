# The part of nixpkgs' lib that the example uses, under the same names.
let
  lib = builtins // prelude // {
    fileset = import ./fileset.nix lib;
    types = import ./types.nix lib;
    licenses = import ./licenses.nix;
    platforms.linux = [
      "x86_64-linux"
      "aarch64-linux"
    ];
    maintainers = { };
  } // import ./modules.nix lib;

  prelude = rec {
    id = x: x;
    const = x: _: x;
    flip =
      f: a: b:
      f b a;
    fix =
      f:
      let
        x = f x;
      in
      x;
    extends =
      overlay: f: final:
      let
        prev = f final;
      in
      prev // overlay final prev;
    composeExtensions =
      f: g: final: prev:
      let
        first = f final prev;
      in
      first // g final (prev // first);
    composeManyExtensions = builtins.foldl' composeExtensions (_: _: { });

    # lists
    inherit (builtins)
      all
      any
      concatLists
      concatMap
      elem
      filter
      foldl'
      head
      length
      sort
      tail
      ;
    optional = condition: x: if condition then [ x ] else [ ];
    optionals = condition: xs: if condition then xs else [ ];
    toList = x: if builtins.isList x then x else [ x ];
    flatten = x: if builtins.isList x then builtins.concatMap flatten x else [ x ];
    unique = builtins.foldl' (seen: x: if builtins.elem x seen then seen else seen ++ [ x ]) [ ];
    last = xs: builtins.elemAt xs (builtins.length xs - 1);
    range = from: to: if from > to then [ ] else builtins.genList (i: from + i) (to - from + 1);

    # attribute sets
    genAttrs = names: f: builtins.listToAttrs (map (name: nameValuePair name (f name)) names);
    nameValuePair = name: value: { inherit name value; };
    attrValues = set: map (name: set.${name}) (builtins.attrNames set);
    mapAttrsToList = f: set: map (name: f name set.${name}) (builtins.attrNames set);
    mapAttrs' = f: set: builtins.listToAttrs (mapAttrsToList f set);
    filterAttrs = keep: set: removeAttrs set (builtins.filter (name: !keep name set.${name}) (builtins.attrNames set));
    optionalAttrs = condition: set: if condition then set else { };
    concatMapAttrs = f: set: builtins.foldl' (a: b: a // b) { } (mapAttrsToList f set);
    attrByPath =
      path: default: set:
      if path == [ ] then
        set
      else if builtins.isAttrs set && set ? ${builtins.head path} then
        attrByPath (builtins.tail path) default set.${builtins.head path}
      else
        default;
    getAttrFromPath = path: attrByPath path (throw "no attribute ${builtins.concatStringsSep "." path}");
    setAttrByPath = path: value: if path == [ ] then value else { ${builtins.head path} = setAttrByPath (builtins.tail path) value; };
    recursiveUpdate =
      a: b:
      a
      // builtins.mapAttrs (
        name: value: if builtins.isAttrs value && builtins.isAttrs (a.${name} or null) then recursiveUpdate a.${name} value else value
      ) b;
    isDerivation = x: (x.type or null) == "derivation";

    # strings
    inherit (builtins) concatStringsSep replaceStrings;
    concatStrings = concatStringsSep "";
    concatMapStrings = f: xs: concatStrings (map f xs);
    concatMapStringsSep =
      separator: f: xs:
      concatStringsSep separator (map f xs);
    optionalString = condition: s: if condition then s else "";
    boolToString = b: if b then "true" else "false";
    hasPrefix = prefix: s: builtins.substring 0 (builtins.stringLength prefix) s == prefix;
    hasSuffix =
      suffix: s:
      let
        start = builtins.stringLength s - builtins.stringLength suffix;
      in
      start >= 0 && builtins.substring start (-1) s == suffix;
    removePrefix = prefix: s: if hasPrefix prefix s then builtins.substring (builtins.stringLength prefix) (-1) s else s;
    removeSuffix =
      suffix: s: if hasSuffix suffix s then builtins.substring 0 (builtins.stringLength s - builtins.stringLength suffix) s else s;
    escapeShellArg = s: "'${replaceStrings [ "'" ] [ "'\\''" ] (toString s)}'";
    escapeShellArgs = concatMapStringsSep " " escapeShellArg;
    makeBinPath = concatMapStringsSep ":" (p: "${p}/bin");
    makeLibraryPath = concatMapStringsSep ":" (p: "${p}/lib");

    # packages
    importTOML = path: builtins.fromTOML (builtins.readFile path);
    getExe = package: "${package}/bin/${package.meta.mainProgram or package.pname}";
    getExe' = package: name: "${package}/bin/${name}";
    makeOverridable =
      f: args:
      let
        result = f args;
      in
      if builtins.isAttrs result then result // { override = new: makeOverridable f (args // (if builtins.isFunction new then new args else new)); } else result;

    assertMsg = condition: message: condition || throw message;
    warn = message: builtins.trace "warning: ${message}";
  };
in
lib
