# This program, with its man pages and shell completions. It finds git and nix on PATH, so that the user chooses them:
# the machine's Nix builds.
{
  lib,
  buildGoModule,
  installShellFiles,
  commit ? "",
  commitTime ? "", # YYYYMMDDHHMMSS
}:
buildGoModule {
  pname = "open-sesame-ci";
  version = "0.1.0";

  # `go mod vendor` reads the imports of all packages and their tests.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../cachix
      ../ci
      ../example
      ../go.mod
      ../go.sum
      ../internal
      ../matrix
      ../pipelines
    ];
  };

  # After a change of go.mod: go test ./ci -run TestVendorHash -update
  vendorHash = "sha256-k02hFXFsCMVAnI6PjUTBULW/iwMuvk4Tap9jqElJ9NY=";

  subPackages = [ "ci" ];
  env.CGO_ENABLED = 0;
  ldflags = lib.optionals (commit != "") [
    "-X main.commit=${commit}"
    "-X main.commitTime=${commitTime}"
  ];

  doCheck = false; # the tests need Nix, the network of this machine, and the documents: `make test` runs them

  nativeBuildInputs = [ installShellFiles ];
  postInstall = ''
    mv $out/bin/ci $out/bin/open-sesame-ci
    mkdir manual
    $out/bin/open-sesame-ci man manual
    installManPage manual/*
    for shell in bash fish zsh; do
      $out/bin/open-sesame-ci completion $shell > completion.$shell
    done
    installShellCompletion --cmd open-sesame-ci \
      --bash completion.bash --fish completion.fish --zsh completion.zsh
  '';

  meta = {
    description = "Builds the packages of a Nix flake for release";
    homepage = "https://github.com/scopecreep-zip/open-sesame-ci";
    license = lib.licenses.mit;
    mainProgram = "open-sesame-ci";
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
  };
}
