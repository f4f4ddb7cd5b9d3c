//! Expands text snippets.

fn main() {
    #[cfg(feature = "desktop")]
    println!("daemon-snippets {} (desktop)", env!("CARGO_PKG_VERSION"));
    #[cfg(not(feature = "desktop"))]
    println!("daemon-snippets {} (headless)", env!("CARGO_PKG_VERSION"));
}
