//! Owns the bus and the trust profiles.

fn main() {
    #[cfg(feature = "desktop")]
    println!("daemon-profile {} (desktop)", env!("CARGO_PKG_VERSION"));
    #[cfg(not(feature = "desktop"))]
    println!("daemon-profile {} (headless)", env!("CARGO_PKG_VERSION"));
}
