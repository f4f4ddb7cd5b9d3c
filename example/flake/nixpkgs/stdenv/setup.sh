# The standard environment: finds the dependencies, then runs the phases of a build. A phase is the
# shell function of that name, unless the derivation brings a string of that name. Around each step a
# hook runs: the function, or the string, called pre… or post… .

set -e
export PATH=@bash@/bin
export PKG_CONFIG_PATH=
export SHELL=@bash@/bin/bash
NIX_LOG_FD=${NIX_LOG_FD:-2}

# Dependencies ---------------------------------------------------------------

seen=

# addDependency takes up a package: its programs, its libraries, its hooks, and what it propagates.
addDependency() {
    local dependency=$1 propagated
    case "$seen " in *" $dependency "*) return 0 ;; esac
    seen="$seen $dependency"
    if [ -d $dependency/bin ]; then
        export PATH=$dependency/bin:$PATH
    fi
    if [ -d $dependency/lib/pkgconfig ]; then
        export PKG_CONFIG_PATH=$dependency/lib/pkgconfig:$PKG_CONFIG_PATH
    fi
    if [ -f $dependency/nix-support/setup-hook ]; then
        source $dependency/nix-support/setup-hook
    fi
    if [ -f $dependency/nix-support/propagated-build-inputs ]; then
        for propagated in $(cat $dependency/nix-support/propagated-build-inputs); do
            addDependency $propagated
        done
    fi
}

for dependency in $nativeBuildInputs $buildInputs $propagatedBuildInputs; do
    addDependency $dependency
done

# Hooks and phases -----------------------------------------------------------

runHook() {
    if declare -F $1; then
        $1
    else
        eval "${!1}"
    fi
}

showPhaseHeader() {
    echo "Running phase: $1"
    # Nix turns this line into the phase that its progress bar and structured log show.
    printf '@nix { "action": "setPhase", "phase": "%s" }\n' $1 >&"$NIX_LOG_FD"
}

runPhase() {
    case $1 in
    unpackPhase) if [ -n "$dontUnpack" ]; then return 0; fi ;;
    patchPhase) if [ -n "$dontPatch" ]; then return 0; fi ;;
    configurePhase) if [ -n "$dontConfigure" ]; then return 0; fi ;;
    buildPhase) if [ -n "$dontBuild" ]; then return 0; fi ;;
    checkPhase) if [ -z "$doCheck" ]; then return 0; fi ;;
    installPhase) if [ -n "$dontInstall" ]; then return 0; fi ;;
    fixupPhase) if [ -n "$dontFixup" ]; then return 0; fi ;;
    installCheckPhase) if [ -z "$doInstallCheck" ]; then return 0; fi ;;
    esac
    showPhaseHeader $1
    if [ -n "${!1}" ]; then
        eval "${!1}"
    else
        $1
    fi
    if [ $1 = unpackPhase ]; then
        cd ${sourceRoot:-source}
    fi
}

genericBuild() {
    if [ -n "$buildCommand" ]; then
        eval "$buildCommand"
        return
    fi
    local phase
    for phase in ${phases:-unpackPhase patchPhase configurePhase buildPhase checkPhase installPhase fixupPhase installCheckPhase}; do
        runPhase $phase
    done
}

unpackPhase() {
    runHook preUnpack
    echo "unpacking source archive $src"
    cp -r $src source
    chmod -R u+w source
    echo "source root is source"
    runHook postUnpack
}

patchPhase() {
    runHook prePatch
    runHook postPatch
}

configurePhase() {
    runHook preConfigure
    runHook postConfigure
}

buildPhase() {
    runHook preBuild
    runHook postBuild
}

checkPhase() {
    runHook preCheck
    runHook postCheck
}

installPhase() {
    runHook preInstall
    mkdir -p $out
    runHook postInstall
}

installCheckPhase() {
    runHook preInstallCheck
    runHook postInstallCheck
}

# fixupPhase records what a user of this package needs besides: propagated-build-inputs is for
# builds, propagated-user-env-packages for profiles (nix profile, Home Manager, NixOS).
fixupPhase() {
    runHook preFixup
    if [ -n "$propagatedBuildInputs" ]; then
        mkdir -p $out/nix-support
        echo "$propagatedBuildInputs" > $out/nix-support/propagated-build-inputs
    fi
    if [ -n "$propagatedUserEnvPkgs" ]; then
        mkdir -p $out/nix-support
        echo "$propagatedUserEnvPkgs" > $out/nix-support/propagated-user-env-packages
    fi
    if [ -n "$setupHook" ]; then
        mkdir -p $out/nix-support
        cp $setupHook $out/nix-support/setup-hook
    fi
    runHook postFixup
}

# Helpers for phases ---------------------------------------------------------

# substituteInPlace FILE… [--replace-fail|--replace-warn|--replace-quiet FROM TO]…
substituteInPlace() {
    local files= how file
    while [ $# -gt 0 ]; do
        case $1 in
        --replace-fail | --replace-warn | --replace-quiet)
            how=$1
            for file in $files; do
                if ! replace $file "$2" "$3"; then
                    case $how in
                    --replace-fail)
                        echo "substituteStream() in derivation $name: ERROR: pattern $2 doesn't match anything in file '$file'" >&2
                        return 1
                        ;;
                    --replace-warn) echo "substituteStream() in derivation $name: WARNING: pattern $2 doesn't match anything in file '$file'" >&2 ;;
                    esac
                fi
            done
            shift 3
            ;;
        *)
            files="$files $1"
            shift
            ;;
        esac
    done
}
