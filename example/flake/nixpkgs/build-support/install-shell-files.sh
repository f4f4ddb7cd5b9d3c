# installManPage FILE…: each page to the section that its ending names.
installManPage() {
    local page
    for page in "$@"; do
        install -Dm644 $page $out/share/man/man${page##*.}/$(basename $page)
    done
}

# installShellCompletion [--cmd NAME] [--bash FILE] [--fish FILE] [--zsh FILE]
installShellCompletion() {
    local command=$pname
    while [ $# -gt 0 ]; do
        case $1 in
        --cmd) command=$2 ;;
        --bash) install -Dm644 $2 $out/share/bash-completion/completions/$command.bash ;;
        --fish) install -Dm644 $2 $out/share/fish/vendor_completions.d/$command.fish ;;
        --zsh) install -Dm644 $2 $out/share/zsh/site-functions/_$command ;;
        *)
            echo "installShellCompletion: $1 is not understood" >&2
            return 1
            ;;
        esac
        shift 2
    done
}
