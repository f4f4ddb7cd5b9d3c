//! Repository chores; not part of any package.

fn main() {
    println!("xtask {}", env!("CARGO_PKG_VERSION"));
}
