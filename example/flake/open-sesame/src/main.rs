//! The command line: talks to the daemons.

fn main() {
    #[cfg(feature = "desktop")]
    println!("sesame {} (desktop)", env!("CARGO_PKG_VERSION"));
    #[cfg(not(feature = "desktop"))]
    println!("sesame {} (headless)", env!("CARGO_PKG_VERSION"));
}
