//! The addon stays loaded when a worker thread that loaded it ends: what Rust and the allocator run at a thread's end lies in it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
