//! Finds and starts applications.

fn main() {
    #[cfg(feature = "desktop")]
    println!("daemon-launcher {} (desktop)", env!("CARGO_PKG_VERSION"));
    #[cfg(not(feature = "desktop"))]
    println!("daemon-launcher {} (headless)", env!("CARGO_PKG_VERSION"));
}
