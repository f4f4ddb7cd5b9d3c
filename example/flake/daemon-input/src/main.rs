//! Reads the keyboard for global key bindings.

fn main() {
    #[cfg(feature = "desktop")]
    println!("daemon-input {} (desktop)", env!("CARGO_PKG_VERSION"));
    #[cfg(not(feature = "desktop"))]
    println!("daemon-input {} (headless)", env!("CARGO_PKG_VERSION"));
}
