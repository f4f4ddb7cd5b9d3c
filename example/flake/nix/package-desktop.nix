# The desktop package: the three daemons of a graphical session, and the command line with its desktop
# features. It needs the headless package, and brings it along wherever it is installed.
{
  lib,
  stdenv,
  rustPlatform,
  pkg-config,
  installShellFiles,
  makeWrapper,
  openssl,
  libseccomp,
  fontconfig,
  wayland,
  wayland-protocols,
  libxkbcommon,
  xkeyboard-config,
  open-sesame,
}:
let
  # Crate → binary; they differ for the command line only.
  binaries = {
    open-sesame = "sesame";
    daemon-wm = "daemon-wm";
    daemon-clipboard = "daemon-clipboard";
    daemon-input = "daemon-input";
  };
  selectCrates = lib.concatMap (crate: [
    "--package"
    crate
  ]) (lib.attrNames binaries);
in
rustPlatform.buildRustPackage {
  pname = "open-sesame-desktop";
  inherit ((lib.importTOML ../Cargo.toml).workspace.package) version;

  src = import ./source.nix { inherit lib; };

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
    makeWrapper
  ];

  buildInputs = [
    openssl
    libseccomp
    fontconfig
    wayland
    wayland-protocols
    libxkbcommon
  ];

  # The headless binaries belong on PATH wherever this package is installed. Builds follow the first of
  # these, profiles and Home Manager the second.
  propagatedBuildInputs = [ open-sesame ];
  propagatedUserEnvPkgs = [ open-sesame ];

  cargoBuildFlags = selectCrates;
  cargoTestFlags = selectCrates;

  # Tests write configuration below HOME.
  preCheck = "export HOME=$(mktemp -d)";

  installPhase = ''
    runHook preInstall

    for binary in ${toString (lib.attrValues binaries)}; do
      install -Dm755 target/${stdenv.hostPlatform.rust.cargoShortTarget}/release/$binary $out/bin/$binary
    done

    # libxkbcommon reads the evdev rules at run time, and they are not where other systems keep them.
    wrapProgram $out/bin/daemon-wm \
      --set XKB_CONFIG_ROOT ${xkeyboard-config}/etc/X11/xkb

    units=$out/lib/systemd/user
    install -Dm644 contrib/systemd/open-sesame-desktop.target $units/open-sesame-desktop.target
    for daemon in wm clipboard input; do
      install -Dm644 contrib/systemd/open-sesame-$daemon.service $units/open-sesame-$daemon.service
      substituteInPlace $units/open-sesame-$daemon.service --replace-fail /usr/bin/ $out/bin/
    done

    runHook postInstall
  '';

  # For the Home Manager module: the package that has the headless daemons.
  passthru.headless = open-sesame;

  meta = {
    description = "Programmable desktop suite: window switcher, clipboard and input daemons";
    homepage = "https://github.com/scopecreep-zip/open-sesame";
    license = lib.licenses.mit;
    platforms = lib.platforms.linux;
    mainProgram = "sesame";
  };
}
