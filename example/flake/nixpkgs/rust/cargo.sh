#!@bash@ -e
# cargo build | cargo test, as far as the example needs them: crates are folders of the workspace, named
# like their package. $cargoDeps holds the vendored git dependencies.
#
# A crate's executable carries a digest of the sources of all crates in it, and the search path of the
# native libraries that their build scripts ask pkg-config for. So a change shows in the binary, and a
# library that is used shows in the closure.

command=$1
shift
crates= defaults=1 profile=debug target=
while [ $# -gt 0 ]; do
    case $1 in
    --package | -p)
        crates="$crates $2"
        shift
        ;;
    --target)
        target=$2
        shift
        ;;
    --no-default-features) defaults= ;;
    --release) profile=release ;;
    --offline) ;;
    *)
        echo "error: unexpected argument '$1' found" >&2
        exit 1
        ;;
    esac
    shift
done
output=target/$target/$profile

# field FILE KEY: the first string under that key in a TOML file.
field() {
    local key equals value
    while read -r key equals value; do
        if [ "$key" = $2 ]; then
            value=${value#*\"}
            echo "${value%%\"*}"
            return 0
        fi
    done < $1
}
version=$(field Cargo.toml version)
export CARGO_PKG_VERSION=$version

# gather CRATE adds the crate and everything it depends on to $sources, and their libraries to $libraries.
gather() {
    local crate=$1 key equals rest found
    case "$gathered " in *" $crate "*) return 0 ;; esac
    gathered="$gathered $crate"
    if [ ! -f $crate/Cargo.toml ]; then
        found=
        for rest in $cargoDeps/$crate-*; do
            if [ -d $rest ]; then
                found=$rest
            fi
        done
        if [ -z "$found" ]; then
            echo "error: no matching package named \`$crate\` found" >&2
            exit 101
        fi
        sources="$sources $found"
        return 0
    fi
    sources="$sources $crate"
    if [ -f $crate/build.rs ]; then
        while read -r rest; do
            case "$rest" in
            'pkg_config::probe_library('*)
                rest=${rest#*\"}
                rest=$(pkg-config --libs ${rest%%\"*})
                libraries="$libraries ${rest#-L}"
                ;;
            esac
        done < $crate/build.rs
    fi
    while read -r key equals rest; do
        case "$rest" in
        *'optional = true'*) if [ -n "$defaults" ]; then gather $key; fi ;;
        '{ path = "../'* | '{ workspace = true'*) gather $key ;;
        esac
    done < $crate/Cargo.toml
}

# compile CRATE OUT
compile() {
    local crate=$1 flags=
    gathered= sources= libraries=
    gather $crate
    if [ -n "$defaults" ] && grep -qF 'default = ["desktop"]' $crate/Cargo.toml; then
        flags="--feature desktop"
    fi
    echo "   Compiling $crate v$version"
    rustc $crate/src/main.rs -o $2 $flags --note "$crate-$(digest $sources)" --note "$libraries"
}

# binary CRATE: the name of its executable, which a [[bin]] section may set.
binary() {
    local key equals value section=
    while read -r key equals value; do
        case "$key" in '['*) section=$key ;; esac
        if [ "$section $key" = '[[bin]] name' ]; then
            value=${value#*\"}
            echo "${value%%\"*}"
            return 0
        fi
    done < $1/Cargo.toml
    echo $1
}

mkdir -p $output
case $command in
build)
    for crate in $crates; do
        compile $crate $output/$(binary $crate)
    done
    echo "    Finished \`$profile\` profile [optimized] target(s)"
    ;;
test)
    # Tests are known by name. prints_…: the program runs, on this machine's processor or an emulated one,
    # and says its version. home_…: HOME is a fresh directory of this build, and can be written to.
    for crate in $crates; do
        program=$output/$(binary $crate)
        if [ ! -x $program ]; then
            compile $crate $program
        fi
        for file in $crate/tests/*.rs; do
            echo "     Running $file"
            while read -r keyword name rest; do
                name=${name%%\(*}
                if [ "$keyword" != fn ]; then
                    continue
                fi
                case $name in
                prints_*)
                    case "$($program)" in
                    *" $version "*) ;;
                    *)
                        echo "test $name ... FAILED"
                        exit 101
                        ;;
                    esac
                    ;;
                home_*)
                    if [ ! -d "$HOME" ] || [ -e "$HOME/.config" ]; then
                        echo "test $name ... FAILED"
                        echo "HOME=$HOME is not a fresh directory" >&2
                        exit 101
                    fi
                    mkdir -p $HOME/.config/pds
                    echo "config_version = 3" > $HOME/.config/pds/config.toml
                    ;;
                *)
                    echo "test $name ... ignored"
                    continue
                    ;;
                esac
                echo "test $name ... ok"
            done < $file
        done
    done
    echo "test result: ok."
    ;;
*)
    echo "error: no such command: \`$command\`" >&2
    exit 101
    ;;
esac
