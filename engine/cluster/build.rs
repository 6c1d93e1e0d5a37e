//! Compiles the `.proto` files without `protoc`, and tells the crate what it is built for.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rustc-env=FLOTT_TARGET={}", std::env::var("TARGET")?);
    let descriptors =
        protox::compile(["proto/control.proto", "proto/ha.proto", "proto/launch.proto"], ["proto"])?;
    // What is collected is large: it is shared rather than copied.
    let shared = ["flott.control.OperatorHandles.handles", "flott.control.CollectedSubtask.pieces"];
    let configured = tonic_prost_build::configure().btree_map(".");
    shared.iter().fold(configured, |configured, path| configured.bytes(path)).compile_fds(descriptors)?;
    Ok(())
}
