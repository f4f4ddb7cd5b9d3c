//! Switches windows through an overlay.

fn main() {
    #[cfg(feature = "desktop")]
    println!("daemon-wm {} (desktop)", env!("CARGO_PKG_VERSION"));
    #[cfg(not(feature = "desktop"))]
    println!("daemon-wm {} (headless)", env!("CARGO_PKG_VERSION"));
}
