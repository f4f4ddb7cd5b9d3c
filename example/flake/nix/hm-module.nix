# Home Manager module: programs.open-sesame.
self:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;

  cfg = config.programs.open-sesame;
  tomlFormat = pkgs.formats.toml { };
  packages = self.packages.${pkgs.stdenv.hostPlatform.system};

  # The desktop package has the desktop daemons only; it names the package that has the others.
  headlessPackage = cfg.package.headless or cfg.package;

  documentation = "https://github.com/scopecreep-zip/open-sesame";
  headlessTarget = "open-sesame-headless.target";
  desktopTarget = "open-sesame-desktop.target";

  # What all seven services have in common; `service` is what sets one apart.
  mkService =
    {
      description,
      target,
      exec,
      unit ? { },
      service,
    }:
    {
      Unit = {
        Description = description;
        Documentation = documentation;
        PartOf = [ target ];
      } // unit;
      Service = {
        Type = "notify";
        ExecStart = exec;
        WatchdogSec = 30;
        Restart = "on-failure";
        RestartSec = 5;
        TimeoutStopSec = 5;
        NoNewPrivileges = true;
        # Secrets live in locked memory (mlock), and must not leak through core dumps.
        LimitMEMLOCK = "64M";
        LimitCORE = 0;
        LimitNOFILE = 4096;
        Environment = [ "RUST_LOG=${cfg.logLevel}" ];
      } // service;
      Install.WantedBy = [ target ];
    };

  # Everything talks over the bus that daemon-profile owns.
  afterProfile = {
    Requires = [ "open-sesame-profile.service" ];
    After = [ "open-sesame-profile.service" ];
  };

  headlessService =
    name: description: unit: service:
    mkService {
      inherit description unit service;
      target = headlessTarget;
      exec = "${headlessPackage}/bin/daemon-${name}";
    };
  desktopService =
    name: description: service:
    mkService {
      inherit description service;
      target = desktopTarget;
      exec = "${cfg.package}/bin/daemon-${name}";
      unit = afterProfile;
    };

  # Written by the shell on SSH logins; the leading dash makes the file optional.
  sshAgent.EnvironmentFile = [ "-%h/.config/pds/ssh-agent.env" ];
in
{
  options.programs.open-sesame = {
    enable = lib.mkEnableOption "the Open Sesame desktop suite";

    headless = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Headless mode: only starts the profile, secrets, launcher and snippets daemons. Omits the
        GUI daemons and the dependency on a graphical session.
      '';
    };

    package = mkOption {
      type = types.package;
      default = if cfg.headless then packages.open-sesame else packages.open-sesame-desktop;
      defaultText = lib.literalExpression "open-sesame-desktop, or open-sesame if headless";
      description = "The package to use.";
    };

    settings = mkOption {
      type = tomlFormat.type;
      default = { };
      example = lib.literalExpression ''{ key_bindings.g = { apps = [ "ghostty" ]; launch = "ghostty"; }; }'';
      description = "WM key bindings and settings for the default profile.";
    };

    profiles = mkOption {
      type = types.attrsOf tomlFormat.type;
      default = { };
      example = lib.literalExpression ''{ work.launch_profiles.dev.env.RUST_LOG = "debug"; }'';
      description = "Additional profile configuration keyed by trust profile name.";
    };

    logLevel = mkOption {
      type = types.enum [
        "error"
        "warn"
        "info"
        "debug"
        "trace"
      ];
      default = "info";
      description = "RUST_LOG level for all daemons.";
    };
  };

  config = mkIf cfg.enable {
    home.packages = [ cfg.package ];

    xdg.configFile."pds/config.toml" = mkIf (cfg.settings != { } || cfg.profiles != { }) {
      source = tomlFormat.generate "open-sesame-config.toml" {
        config_version = 3;
        profiles = lib.recursiveUpdate cfg.profiles (lib.optionalAttrs (cfg.settings != { }) { default.wm = cfg.settings; });
      };
    };

    systemd.user.sessionVariables.SSH_AUTH_SOCK = "\${HOME}/.ssh/agent.sock";

    # ProtectSystem=strict bind-mounts ReadWritePaths into a service's mount namespace, so these must be
    # there before it starts.
    systemd.user.tmpfiles.rules = [
      "d %t/pds 0700 - - -"
      "d %h/.config/pds 0700 - - -"
      "d %h/.cache/open-sesame 0700 - - -"
    ] ++ lib.optional (!cfg.headless) "d %h/.cache/fontconfig 0755 - - -";

    systemd.user.targets = {
      open-sesame-headless = {
        Unit = {
          Description = "Open Sesame headless suite";
          Documentation = documentation;
        };
        Install.WantedBy = [ "default.target" ];
      };

      open-sesame-desktop = mkIf (!cfg.headless) {
        Unit = {
          Description = "Open Sesame desktop suite";
          Documentation = documentation;
          Requires = [
            headlessTarget
            "graphical-session.target"
          ];
          After = [
            headlessTarget
            "graphical-session.target"
          ];
        };
        Install.WantedBy = [ "graphical-session.target" ];
      };
    };

    systemd.user.services = lib.mkMerge [
      {
        open-sesame-profile = headlessService "profile" "Open Sesame profile daemon" { } (
          {
            ProtectHome = "read-only";
            ProtectSystem = "strict";
            ReadWritePaths = [
              "%t/pds"
              "%h/.config/pds"
            ];
            MemoryMax = "128M";
          }
          // sshAgent
        );

        open-sesame-secrets = headlessService "secrets" "Open Sesame secrets daemon" afterProfile {
          PrivateNetwork = true;
          ProtectHome = "read-only";
          ProtectSystem = "strict";
          ReadWritePaths = [
            "%t/pds"
            "%h/.config/pds"
          ];
          LimitNOFILE = 1024;
          MemoryMax = "256M";
        };

        # What the launcher starts inherits its restrictions, so it has no file system or memory limits.
        open-sesame-launcher = headlessService "launcher" "Open Sesame launcher daemon" afterProfile {
          CapabilityBoundingSet = "";
          SystemCallArchitectures = "native";
          LockPersonality = true;
          RestrictSUIDSGID = true;
          KillMode = "process";
        };

        open-sesame-snippets = headlessService "snippets" "Open Sesame snippets daemon" afterProfile {
          ProtectHome = "read-only";
          ProtectSystem = "strict";
          ReadWritePaths = [ "%t/pds" ];
          MemoryMax = "128M";
        };
      }

      (mkIf (!cfg.headless) {
        open-sesame-wm = desktopService "wm" "Open Sesame window manager daemon" (
          {
            ProtectHome = "read-only";
            ProtectSystem = "strict";
            ReadWritePaths = [
              "%t/pds"
              "%h/.cache/open-sesame"
              "%h/.cache/fontconfig"
            ];
            MemoryMax = "128M";
          }
          // sshAgent
        );

        open-sesame-clipboard = desktopService "clipboard" "Open Sesame clipboard daemon" {
          ProtectHome = "read-only";
          ProtectSystem = "strict";
          ReadWritePaths = [
            "%t/pds"
            "%h/.cache/open-sesame"
          ];
          MemoryMax = "128M";
        };

        # Reads /dev/input, for which the user must be in the group "input".
        open-sesame-input = desktopService "input" "Open Sesame input daemon" {
          ProtectHome = "read-only";
          ProtectSystem = "strict";
          ReadWritePaths = [ "%t/pds" ];
          MemoryMax = "128M";
        };
      })
    ];
  };
}
