#!@bash@ -e
# rustc SOURCE -o OUT [--feature NAME]… [--note TEXT]…
#
# Compiles a main function of println! lines into an executable for this machine. What it knows of Rust:
#     println!("text, {} is the version", env!("CARGO_PKG_VERSION"));
#     #[cfg(feature = "x")] and #[cfg(not(feature = "x"))] on the line before
#     compile_error!("text");
source=$1
shift
out= features=" " count=0
notes=
while [ $# -gt 0 ]; do
    case $1 in
    -o) out=$2 ;;
    --feature) features="$features$2 " ;;
    --note) notes="$notes $2" ;;
    esac
    shift 2
done

enabled() {
    case "$features" in
    *" $1 "*) return 0 ;;
    esac
    return 1
}
quoted() {
    local rest=${1#*\"}
    echo "${rest%%\"*}"
}

text= keep=1 number=0 placeholder={}
while read -r line; do
    number=$((number + 1))
    case "$line" in
    '#[cfg(feature = '*) if enabled "$(quoted "$line")"; then keep=1; else keep=; fi ;;
    '#[cfg(not(feature = '*) if enabled "$(quoted "$line")"; then keep=; else keep=1; fi ;;
    'println!('*)
        if [ -n "$keep" ]; then
            say=$(quoted "$line")
            text="$text${text:+ / }${say/$placeholder/$CARGO_PKG_VERSION}"
        fi
        keep=1
        ;;
    'compile_error!('*)
        if [ -n "$keep" ]; then
            echo "error: $(quoted "$line")" >&2
            echo "  --> $source:$number" >&2
            exit 1
        fi
        ;;
    *) keep=1 ;;
    esac
done < $source

elf $out "$text" $notes
