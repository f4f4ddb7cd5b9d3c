# makeWrapper PROGRAM WRAPPER [--set NAME VALUE | --set-default NAME VALUE | --prefix NAME SEPARATOR VALUE | --add-flags FLAGS]…
makeWrapper() {
    local program=$1 wrapper=$2 flags=
    shift 2
    if [ ! -x $program ]; then
        echo "makeWrapper: $program is not an executable file" >&2
        return 1
    fi
    mkdir -p $(dirname $wrapper)
    echo "#! @bash@ -e" > $wrapper
    while [ $# -gt 0 ]; do
        case $1 in
        --set)
            echo "export $2='$3'" >> $wrapper
            shift 3
            ;;
        --set-default)
            echo "export $2=\${$2-'$3'}" >> $wrapper
            shift 3
            ;;
        --prefix)
            echo "export $2='$4'\${$2:+'$3'}\$$2" >> $wrapper
            shift 4
            ;;
        --add-flags)
            flags="$flags $2"
            shift 2
            ;;
        *)
            echo "makeWrapper doesn't understand the arg $1" >&2
            return 1
            ;;
        esac
    done
    echo "exec -a \"\$0\" \"$program\"$flags \"\$@\"" >> $wrapper
    chmod 755 $wrapper
}

# wrapProgram PROGRAM … : the wrapper takes the program's place, and that moves aside.
wrapProgram() {
    local program=$1 hidden
    hidden=$(dirname $program)/.$(basename $program)-wrapped
    shift
    mv $program $hidden
    makeWrapper $hidden $program "$@"
}
