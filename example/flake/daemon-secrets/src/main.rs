//! Keeps secrets in locked memory.

fn main() {
    #[cfg(feature = "desktop")]
    println!("daemon-secrets {} (desktop)", env!("CARGO_PKG_VERSION"));
    #[cfg(not(feature = "desktop"))]
    println!("daemon-secrets {} (headless)", env!("CARGO_PKG_VERSION"));
}
