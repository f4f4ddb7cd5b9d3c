# Builders for single files and single commands.
{ lib, stdenv }:
rec {
  runCommand =
    name: env: buildCommand:
    stdenv.mkDerivation (env // { inherit name buildCommand; });

  writeTextFile =
    {
      name,
      text,
      executable ? false,
      destination ? "",
    }:
    runCommand name { inherit text destination; } ''
      target=$out$destination
      mkdir -p $(dirname $target)
      printf '%s' "$text" > $target
      ${lib.optionalString executable "chmod +x $target"}
    '';
  writeText = name: text: writeTextFile { inherit name text; };

  # A package with one program, which is a script of the stand-in.
  writeScript =
    pname: version: script:
    runCommand "${pname}-${version}" { inherit script; } ''
      mkdir -p $out/bin
      cp $script $out/bin/${pname}
      substituteInPlace $out/bin/${pname} --replace-fail @bash@ ${stdenv.shell}
      chmod +x $out/bin/${pname}
    ''
    // {
      inherit pname version;
    };
  writeShellScriptBin =
    name: text:
    writeTextFile {
      inherit name;
      executable = true;
      destination = "/bin/${name}";
      text = "#!${stdenv.shell}\n${text}\n";
    };

  makeSetupHook =
    { name, ... }:
    script:
    runCommand name { inherit script; } ''
      mkdir -p $out/nix-support
      cp $script $out/nix-support/setup-hook
      replace $out/nix-support/setup-hook @bash@ ${stdenv.shell} || true
    '';
}
