# The headless package: the command line and the four daemons that need no graphical session.
{
  lib,
  stdenv,
  rustPlatform,
  pkg-config,
  installShellFiles,
  openssl,
  libseccomp,
}:
let
  # Crate → binary; they differ for the command line only.
  binaries = {
    open-sesame = "sesame";
    daemon-profile = "daemon-profile";
    daemon-secrets = "daemon-secrets";
    daemon-launcher = "daemon-launcher";
    daemon-snippets = "daemon-snippets";
  };
  selectCrates = lib.concatMap (crate: [
    "--package"
    crate
  ]) (lib.attrNames binaries);
in
rustPlatform.buildRustPackage {
  pname = "open-sesame";
  inherit ((lib.importTOML ../Cargo.toml).workspace.package) version;

  src = import ./source.nix { inherit lib; };

  # Cargo resolves the whole lock file before it builds any crate of it, so these are needed here too,
  # although only the desktop package builds the COSMIC crates.
  cargoLock = {
    lockFile = ../Cargo.lock;
    outputHashes = {
      "cosmic-client-toolkit-0.2.0" = "sha256-DqJMushKFJI+NNdKcV8oFSnFtEKMukiyMW/AnNXsqIA=";
      "cosmic-protocols-0.2.0" = "sha256-DqJMushKFJI+NNdKcV8oFSnFtEKMukiyMW/AnNXsqIA=";
      "nucleo-0.5.0" = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY=";
    };
  };

  nativeBuildInputs = [
    pkg-config
    installShellFiles
  ];

  buildInputs = [
    openssl
    libseccomp
  ];

  buildNoDefaultFeatures = true;
  cargoBuildFlags = selectCrates;
  cargoTestFlags = selectCrates;

  # Tests write configuration below HOME.
  preCheck = "export HOME=$(mktemp -d)";

  installPhase = ''
    runHook preInstall

    for binary in ${toString (lib.attrValues binaries)}; do
      install -Dm755 target/${stdenv.hostPlatform.rust.cargoShortTarget}/release/$binary $out/bin/$binary
    done

    install -Dm644 config.example.toml $out/share/doc/open-sesame/config.example.toml

    units=$out/lib/systemd/user
    install -Dm644 contrib/systemd/open-sesame-headless.target $units/open-sesame-headless.target
    for daemon in profile secrets launcher snippets; do
      install -Dm644 contrib/systemd/open-sesame-$daemon.service $units/open-sesame-$daemon.service
      substituteInPlace $units/open-sesame-$daemon.service --replace-fail /usr/bin/ $out/bin/
    done

    runHook postInstall
  '';

  meta = {
    description = "Programmable desktop suite: command line and headless daemons";
    homepage = "https://github.com/scopecreep-zip/open-sesame";
    license = lib.licenses.mit;
    platforms = lib.platforms.linux;
    mainProgram = "sesame";
  };
}
