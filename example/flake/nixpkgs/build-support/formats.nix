# pkgs.formats.toml: the type of what TOML can express, and a generator that prints it.
{ lib, writeText }:
{
  toml =
    { }:
    let
      value =
        (with lib.types; nullOr (oneOf [ bool int float str path (attrsOf value) (listOf value) ])) // { description = "TOML value"; };

      present = lib.filterAttrs (_: v: v != null);
      isTable = v: lib.isAttrs v && !lib.isDerivation v;
      isTables = v: lib.isList v && v != [ ] && lib.all isTable v;

      key = name: if builtins.match "[A-Za-z0-9_-]+" name != null then name else builtins.toJSON name;
      inline =
        v:
        if lib.isList v then
          "[${lib.concatMapStringsSep ", " inline v}]"
        else if isTable v then
          "{ ${lib.concatStringsSep ", " (lib.mapAttrsToList (n: x: "${key n} = ${inline x}") (present v))} }"
        else if lib.isBool v || lib.isInt v || lib.isFloat v then
          builtins.toJSON v
        else
          builtins.toJSON (toString v);

      # A table is its plain values first, then the tables below it under their own headers.
      table =
        path: v:
        let
          all = present v;
          nested = lib.filterAttrs (_: x: isTable x || isTables x) all;
          plain = removeAttrs all (lib.attrNames nested);
          header = name: lib.concatStringsSep "." (path ++ [ (key name) ]);
          below =
            name: x:
            if isTables x then
              lib.concatMapStrings (each: "\n[[${header name}]]\n${table (path ++ [ (key name) ]) each}") x
            else
              lib.optionalString (x == { } || lib.any (y: !(isTable y || isTables y)) (lib.attrValues (present x))) "\n[${header name}]\n"
              + table (path ++ [ (key name) ]) x;
        in
        lib.concatStrings (lib.mapAttrsToList (n: x: "${key n} = ${inline x}\n") plain ++ lib.mapAttrsToList below nested);
    in
    {
      type = value;
      generate = name: v: writeText name (table [ ] v);
    };
}
