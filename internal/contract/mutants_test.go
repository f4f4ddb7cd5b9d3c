package contract

// edit replaces a text in a file of the example flake.
type edit struct{ file, old, new string }

// mutant is the example flake with one requirement violated.
type mutant struct {
	name  string
	edits []edit
	// wants are parts of the names of the checks that do not pass.
	wants []string
	// warns says that the checks warn instead of failing.
	warns bool
}

const (
	headlessNix = "nix/package.nix"
	desktopNix  = "nix/package-desktop.nix"
	sourceNix   = "nix/source.nix"
	moduleNix   = "nix/hm-module.nix"
	contrib     = "contrib/systemd/open-sesame-"
)

// evaluatedMutants are found by an evaluation.
var evaluatedMutants = []mutant{
	{"no headless package", []edit{
		{"flake.nix", "inherit (pkgs) open-sesame open-sesame-desktop;", "inherit (pkgs) open-sesame-desktop;"},
		{moduleNix, "packages.open-sesame else", "packages.open-sesame-desktop.headless else"},
	}, []string{"outputs/packages/open-sesame"}, false},
	{"default is the headless package", []edit{
		{"flake.nix", "default = pkgs.open-sesame-desktop;", "default = pkgs.open-sesame;"},
	}, []string{"outputs/packages/default"}, false},
	{"no default package", []edit{
		{"flake.nix", "default = pkgs.open-sesame-desktop;", ""},
	}, []string{"outputs/packages/default"}, false},
	{"overlay under another name", []edit{
		{"flake.nix", "overlays = [ self.overlays.default ]", "overlays = [ self.overlays.sesame ]"},
		{"flake.nix", "overlays.default = final", "overlays.sesame = final"},
	}, []string{"outputs/overlays/default"}, false},
	{"overlay without the desktop package", []edit{
		{"flake.nix", "overlays = [ self.overlays.default ]", "overlays = [ self.overlays.all ]"},
		{"flake.nix", "overlays.default = final", "overlays.default = final: _: { open-sesame = final.callPackage ./nix/package.nix { }; };\n      overlays.all = final"},
	}, []string{"outputs/overlays/default/open-sesame-desktop"}, false},
	{"overlay that gives another derivation", []edit{
		{"flake.nix", "overlays = [ self.overlays.default ]", "overlays = [ self.overlays.all ]"},
		{"flake.nix", "overlays.default = final", `overlays.default = final: prev: let all = self.overlays.all final prev; in
        all // { open-sesame-desktop = all.open-sesame-desktop.overrideAttrs { flavour = "vanilla"; }; };
      overlays.all = final`},
	}, []string{"outputs/overlays/default/open-sesame-desktop"}, true},
	{"module under another name", []edit{
		{"flake.nix", "homeManagerModules.default", "homeModules.default"},
	}, []string{"outputs/homeManagerModules/default"}, false},
	{"no development shell", []edit{
		{"flake.nix", "devShells = forAllSystems", "shells = forAllSystems"},
	}, []string{"outputs/devShells/default"}, false},

	{"default features", []edit{
		{headlessNix, "buildNoDefaultFeatures = true;", ""},
	}, []string{"package/open-sesame/no-default-features"}, false},
	{"tests of headless in a shared home", []edit{
		{headlessNix, `"export HOME=$(mktemp -d)"`, `"export HOME=/tmp"`},
	}, []string{"pre-check/open-sesame"}, false},
	{"no preCheck of desktop", []edit{
		{desktopNix, `preCheck = "export HOME=$(mktemp -d)";`, ""},
	}, []string{"pre-check/open-sesame-desktop"}, false},
	{"tests do not run", []edit{
		{desktopNix, "cargoTestFlags = selectCrates;", "doCheck = false;"},
	}, []string{"pre-check/open-sesame-desktop"}, false},

	{"documents in the source", []edit{{sourceNix, "../contrib", "../contrib\n      ../docs"}}, []string{"/ignores"}, false},
	{"workflows in the source", []edit{{sourceNix, "../contrib", "../contrib\n      ../.github"}}, []string{"/ignores"}, false},
	{"no source filter", []edit{
		{headlessNix, "src = import ./source.nix { inherit lib; };", "src = ../.;"},
	}, []string{"/ignores"}, false},
	{"derivation that holds the commit", []edit{
		{"flake.nix", "final.callPackage ./nix/package.nix { }", `(final.callPackage ./nix/package.nix { }).overrideAttrs { rev = self.rev or "none"; }`},
	}, []string{"/ignores"}, false},
	{"extension crates not in the source", []edit{{sourceNix, `"extension-"`, ""}}, []string{"/follows"}, false},
	{"xtask not in the source", []edit{{sourceNix, `"xtask"`, ""}}, []string{"/follows"}, false},
	{"Cargo's configuration not in the source", []edit{{sourceNix, "../.cargo\n", ""}}, []string{"/follows"}, false},

	{"module that is always on", []edit{{moduleNix, "config = mkIf cfg.enable {", "config = mkIf true {"}}, []string{"home-manager/disabled"}, false},
	{"headless target that no login starts", []edit{
		{moduleNix, `[ "default.target" ]`, `[ "multi-user.target" ]`},
	}, []string{"targets/open-sesame-headless/WantedBy"}, false},
	{"desktop target that every login starts", []edit{
		{moduleNix, `Install.WantedBy = [ "graphical-session.target" ];`, `Install.WantedBy = [ "default.target" ];`},
	}, []string{"targets/open-sesame-desktop/WantedBy"}, false},
	{"desktop target without a graphical session", []edit{
		{moduleNix, "Requires = [\n            headlessTarget\n            \"graphical-session.target\"\n", "Requires = [\n            headlessTarget\n"},
	}, []string{"targets/open-sesame-desktop/Requires"}, false},
	{"desktop services in headless mode", []edit{
		{moduleNix, "(mkIf (!cfg.headless) {", "(mkIf true {"},
	}, []string{"home-manager/headless/services"}, false},
	{"desktop target in headless mode", []edit{
		{moduleNix, "open-sesame-desktop = mkIf (!cfg.headless) {", "open-sesame-desktop = {"},
	}, []string{"home-manager/headless/targets"}, false},
	{"no rule for the cache", []edit{
		{moduleNix, "      \"d %h/.cache/open-sesame 0700 - - -\"\n", ""},
	}, []string{"/tmpfiles"}, false},
	{"rule for fontconfig in headless mode", []edit{
		{moduleNix, "lib.optional (!cfg.headless)", "lib.optional true"},
	}, []string{"headless/tmpfiles-of-desktop"}, false},
	{"rule for fontconfig with another mode", []edit{
		{moduleNix, "fontconfig 0755", "fontconfig 0700"},
	}, []string{"desktop/tmpfiles"}, false},
	{"configuration of version 2", []edit{{moduleNix, "config_version = 3;", "config_version = 2;"}}, []string{"home-manager/config/"}, false},
	{"settings in another place", []edit{
		{moduleNix, "{ default.wm = cfg.settings; }", "{ default.window = cfg.settings; }"},
	}, []string{"config/both", "config/settings"}, false},
	{"profiles that are lost", []edit{
		{moduleNix, "lib.recursiveUpdate cfg.profiles", "lib.recursiveUpdate { }"},
	}, []string{"config/both", "config/profiles"}, false},
	{"configuration for settings and profiles only", []edit{
		{moduleNix, "cfg.settings != { } || cfg.profiles", "cfg.settings != { } && cfg.profiles"},
	}, []string{"config/settings", "config/profiles"}, false},
	{"configuration that is empty", []edit{
		{moduleNix, "mkIf (cfg.settings != { } || cfg.profiles != { })", "mkIf true"},
	}, []string{"config/none"}, false},
	{"configuration that is not TOML", []edit{
		{moduleNix, `source = tomlFormat.generate "open-sesame-config.toml" {`, `source = pkgs.writeText "config.json" (builtins.toJSON {`},
		{moduleNix, "{ default.wm = cfg.settings; });\n      };", "{ default.wm = cfg.settings; });\n      });"},
	}, []string{"home-manager/config/"}, false},
	{"log level that reaches no service", []edit{
		{moduleNix, "RUST_LOG=${cfg.logLevel}", "RUST_LOG=info"},
	}, []string{"log-level/error", "log-level/warn", "log-level/debug", "log-level/trace"}, false},
	{"log level that is not known", []edit{{moduleNix, "        \"trace\"\n", ""}}, []string{"log-level/trace"}, false},
	{"any log level", []edit{
		{moduleNix, "type = types.enum [", "type = lib.const types.str ["},
	}, []string{"log-level/refused"}, false},
	{"desktop package in headless mode", []edit{
		{moduleNix, "if cfg.headless then packages.open-sesame else", "if false then packages.open-sesame else"},
	}, []string{"home-manager/headless/package"}, false},
	{"package that cannot be overridden", []edit{
		{moduleNix, "home.packages = [ cfg.package ];", "home.packages = [ (if cfg.headless then packages.open-sesame else packages.open-sesame-desktop) ];"},
	}, []string{"home-manager/package-override"}, false},
	{"agent at another socket", []edit{
		{moduleNix, ".ssh/agent.sock", ".ssh/agent"},
	}, []string{"session-variables/SSH_AUTH_SOCK"}, false},
	{"window manager without the agent", []edit{
		{moduleNix, "\"%h/.cache/fontconfig\"\n            ];\n            MemoryMax = \"128M\";\n          }\n          // sshAgent", "\"%h/.cache/fontconfig\"\n            ];\n            MemoryMax = \"128M\";\n          }"},
	}, []string{"open-sesame-wm/EnvironmentFile"}, false},
	{"agent's file that is required", []edit{
		{moduleNix, `"-%h/.config/pds/ssh-agent.env"`, `"%h/.config/pds/ssh-agent.env"`},
	}, []string{"open-sesame-profile/EnvironmentFile", "open-sesame-wm/EnvironmentFile"}, false},
	{"no watchdog", []edit{{moduleNix, "WatchdogSec = 30;", ""}}, []string{"/WatchdogSec"}, false},
	{"services that do not notify", []edit{{moduleNix, `Type = "notify";`, `Type = "simple";`}}, []string{"/Type"}, false},
	{"services that are not restarted", []edit{{moduleNix, `Restart = "on-failure";`, `Restart = "no";`}}, []string{"/Restart"}, false},
	{"restart at once", []edit{{moduleNix, "RestartSec = 5;", "RestartSec = 0;"}}, []string{"/RestartSec"}, false},
	{"new privileges", []edit{{moduleNix, "NoNewPrivileges = true;", "NoNewPrivileges = false;"}}, []string{"/NoNewPrivileges"}, false},
	{"little locked memory", []edit{{moduleNix, `LimitMEMLOCK = "64M";`, `LimitMEMLOCK = "64K";`}}, []string{"/LimitMEMLOCK"}, false},
	{"core dumps", []edit{{moduleNix, "LimitCORE = 0;", `LimitCORE = "infinity";`}}, []string{"/LimitCORE"}, false},
	{"services of no target", []edit{{moduleNix, "PartOf = [ target ];", ""}}, []string{"/PartOf"}, false},
	{"secrets with a network", []edit{{moduleNix, "PrivateNetwork = true;", ""}}, []string{"open-sesame-secrets/PrivateNetwork"}, false},
	{"secrets with more memory", []edit{{moduleNix, `MemoryMax = "256M";`, `MemoryMax = "2G";`}}, []string{"open-sesame-secrets/MemoryMax"}, false},
	{"launcher with capabilities", []edit{{moduleNix, `CapabilityBoundingSet = "";`, ""}}, []string{"open-sesame-launcher/CapabilityBoundingSet"}, false},
	{"launcher with foreign system calls", []edit{
		{moduleNix, `SystemCallArchitectures = "native";`, ""},
	}, []string{"open-sesame-launcher/SystemCallArchitectures"}, false},
	{"profile that may write its home", []edit{
		{moduleNix, "          {\n            ProtectHome = \"read-only\";\n            ProtectSystem = \"strict\";\n            ReadWritePaths = [\n              \"%t/pds\"\n              \"%h/.config/pds\"\n", "          {\n            ProtectHome = false;\n            ProtectSystem = \"strict\";\n            ReadWritePaths = [\n              \"%t/pds\"\n              \"%h/.config/pds\"\n"},
	}, []string{"open-sesame-profile/ProtectHome"}, false},
	{"profile that cannot write its configuration", []edit{
		{moduleNix, "            ReadWritePaths = [\n              \"%t/pds\"\n              \"%h/.config/pds\"\n", "            ReadWritePaths = [\n              \"%t/pds\"\n"},
	}, []string{"open-sesame-profile/ReadWritePaths"}, false},
	{"services with programs in /usr/bin", []edit{
		{moduleNix, `exec = "${cfg.package}/bin/daemon-${name}";`, `exec = "/usr/bin/daemon-${name}";`},
	}, []string{"/ExecStart"}, false},
	{"headless services of the desktop package", []edit{
		{moduleNix, "headlessPackage = cfg.package.headless or cfg.package;", "headlessPackage = cfg.package;"},
	}, []string{"/ExecStart"}, false},
}

// builtMutants are found only after a build.
var builtMutants = []mutant{
	{"no command line", []edit{{headlessNix, `    open-sesame = "sesame";`, ""}}, []string{"open-sesame/binaries/sesame"}, false},
	{"program that cannot be run", []edit{
		{headlessNix, "    units=$out", "    chmod 644 $out/bin/sesame\n    units=$out"},
	}, []string{"open-sesame/binaries/sesame"}, false},
	{"program for another processor", []edit{
		{headlessNix, "    units=$out", "    install -Dm755 ${../nixpkgs/bootstrap/FOREIGN/kit} $out/bin/sesame\n    units=$out"},
	}, []string{"open-sesame/binaries/sesame"}, false},
	{"no example configuration", []edit{
		{headlessNix, "install -Dm644 config.example.toml $out/share/doc/open-sesame/config.example.toml", ""},
	}, []string{"files/config.example.toml"}, false},
	{"no unit of snippets", []edit{
		{headlessNix, "for daemon in profile secrets launcher snippets", "for daemon in profile secrets launcher"},
	}, []string{"open-sesame-snippets.service"}, false},
	{"no desktop target", []edit{
		{desktopNix, "install -Dm644 contrib/systemd/open-sesame-desktop.target $units/open-sesame-desktop.target", ""},
	}, []string{"units/open-sesame-desktop/open-sesame-desktop.target"}, false},
	{"desktop library in the headless closure", []edit{
		{headlessNix, "  libseccomp,\n}:", "  libseccomp,\n  libxkbcommon,\n}:"},
		{headlessNix, "    units=$out", "    echo ${libxkbcommon} > $out/share/doc/open-sesame/libraries\n    units=$out"},
	}, []string{"package/open-sesame/closure"}, false},
	{"window manager without a wrapper", []edit{
		{desktopNix, "wrapProgram $out/bin/daemon-wm \\\n      --set XKB_CONFIG_ROOT ${xkeyboard-config}/etc/X11/xkb", ""},
	}, []string{"wrapped/daemon-wm"}, false},
	{"wrapper of nothing", []edit{
		{desktopNix, "    units=$out", "    rm $out/bin/.daemon-wm-wrapped\n    units=$out"},
	}, []string{"binaries/daemon-wm"}, false},
	{"keyboard rules in /usr/share", []edit{
		{desktopNix, "${xkeyboard-config}/etc/X11/xkb", "/usr/share/X11/xkb"},
	}, []string{"wrapped/daemon-wm"}, false},
	{"keyboard rules that do not exist", []edit{
		{desktopNix, "${xkeyboard-config}/etc/X11/xkb", "${xkeyboard-config}/lib/etc/X11/xkb"},
	}, []string{"wrapped/daemon-wm"}, false},
	{"headless package that is not propagated to builds", []edit{
		{desktopNix, "propagatedBuildInputs = [ open-sesame ];", ""},
	}, []string{"propagates/open-sesame"}, false},
	{"headless package that is not propagated to profiles", []edit{
		{desktopNix, "propagatedUserEnvPkgs = [ open-sesame ];", ""},
	}, []string{"on-path"}, true},
	{"units with programs in /usr/bin", []edit{
		{desktopNix, "      substituteInPlace $units/open-sesame-$daemon.service --replace-fail /usr/bin/ $out/bin/\n", ""},
	}, []string{"/forbidden"}, false},
	{"units that start programs that do not exist", []edit{
		{desktopNix, "--replace-fail /usr/bin/ $out/bin/", "--replace-fail /usr/bin/ $out/libexec/"},
	}, []string{"/ExecStart"}, false},
	{"unit that does not notify", []edit{{contrib + "input.service", "Type=notify", "Type=exec"}}, []string{"input.service/Type"}, false},
	{"unit without a watchdog", []edit{{contrib + "wm.service", "WatchdogSec=30\n", ""}}, []string{"wm.service/WatchdogSec"}, false},
	{"unit that is not restarted", []edit{{contrib + "launcher.service", "Restart=on-failure", "Restart=no"}}, []string{"launcher.service/Restart"}, false},
	{"unit with core dumps", []edit{{contrib + "clipboard.service", "LimitCORE=0\n", ""}}, []string{"clipboard.service/LimitCORE"}, false},
	{"unit of secrets with a network", []edit{{contrib + "secrets.service", "PrivateNetwork=true\n", ""}}, []string{"secrets.service/PrivateNetwork"}, false},
	{"unit of the launcher with capabilities", []edit{
		{contrib + "launcher.service", "CapabilityBoundingSet=\n", ""},
	}, []string{"launcher.service/CapabilityBoundingSet"}, false},
	{"unit that systemd cannot read", []edit{{contrib + "snippets.service", "TimeoutStopSec=5", "TimeoutStopSec=soon"}}, []string{"verify/open-sesame-snippets.service"}, false},
}
