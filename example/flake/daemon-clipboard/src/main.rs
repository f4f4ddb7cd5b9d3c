//! Remembers what was copied, per profile.

fn main() {
    #[cfg(feature = "desktop")]
    println!("daemon-clipboard {} (desktop)", env!("CARGO_PKG_VERSION"));
    #[cfg(not(feature = "desktop"))]
    println!("daemon-clipboard {} (headless)", env!("CARGO_PKG_VERSION"));
}
