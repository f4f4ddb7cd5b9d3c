fn main() {
    pkg_config::probe_library("libseccomp").unwrap();
}
