# File sets: a set of files is an attribute set whose names are their absolute paths. A directory
# stands for all files below it, so that empty directories vanish from a source, as in nixpkgs.
lib:
let
  expand =
    path:
    let
      entries = builtins.readDir path;
      below = name: if entries.${name} == "directory" then expand (path + "/${name}") else { ${toString (path + "/${name}")} = true; };
    in
    lib.concatMapAttrs (name: _: below name) entries;

  kind = path: (builtins.readDir (dirOf path)).${baseNameOf path} or null;

  coerce =
    what: x:
    if x._type or null == "fileset" then
      x
    else if !builtins.isPath x then
      throw "lib.fileset.${what}: an element is of type ${builtins.typeOf x}, but should be a file set or a path."
    else if !builtins.pathExists x then
      throw "lib.fileset.${what}: the path ${toString x} does not exist. Use lib.fileset.maybeMissing for a path that may be missing."
    else
      make (if kind x == "directory" then expand x else { ${toString x} = true; });

  make = files: {
    _type = "fileset";
    inherit files;
  };
  pick = what: x: (coerce what x).files;

  # All directories above a file, so that the source filter descends into them.
  above =
    file:
    let
      parent = dirOf file;
    in
    if parent == "/" then { } else above parent // { ${parent} = true; };
in
{
  maybeMissing = path: if builtins.pathExists path then coerce "maybeMissing" path else make { };
  unions = sets: make (lib.foldl' (all: x: all // pick "unions" x) { } sets);
  union = a: b: make (pick "union" a // pick "union" b);
  intersection = a: b: make (builtins.intersectAttrs (pick "intersection" a) (pick "intersection" b));
  difference = a: b: make (removeAttrs (pick "difference" a) (builtins.attrNames (pick "difference" b)));
  fileFilter =
    keep: path:
    make (
      lib.filterAttrs (
        file: _:
        keep {
          name = baseNameOf file;
          hasExt = ext: lib.hasSuffix ".${ext}" file;
        }
      ) (pick "fileFilter" path)
    );
  toList = x: builtins.attrNames (pick "toList" x);

  toSource =
    { root, fileset }:
    let
      files = pick "toSource" fileset;
      directories = lib.foldl' (all: file: all // above file) { } (builtins.attrNames files);
      outside = builtins.filter (file: !lib.hasPrefix "${toString root}/" file) (builtins.attrNames files);
    in
    if outside != [ ] then
      throw "lib.fileset.toSource: ${builtins.head outside} is not below the root ${toString root}."
    else
      {
        _type = "fileset-source";
        outPath = builtins.path {
          name = "source";
          path = root;
          filter = path: type: if type == "directory" then directories ? ${path} else files ? ${path};
        };
      };
}
