use std::{env, fs, path::PathBuf};

#[test]
fn home_is_fresh_and_writable() {
    let config = PathBuf::from(env::var_os("HOME").unwrap()).join(".config");
    assert!(!config.exists());
    fs::create_dir_all(config.join("pds")).unwrap();
    fs::write(config.join("pds/config.toml"), "config_version = 3\n").unwrap();
}
