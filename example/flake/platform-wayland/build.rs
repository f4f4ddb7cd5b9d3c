fn main() {
    pkg_config::probe_library("wayland-client").unwrap();
    pkg_config::probe_library("wayland-protocols").unwrap();
    pkg_config::probe_library("xkbcommon").unwrap();
    pkg_config::probe_library("fontconfig").unwrap();
}
