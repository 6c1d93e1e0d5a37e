//! Compiles the messages of Hadoop's protocols.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/common.proto", "proto/yarn.proto", "proto/yarn_service.proto", "proto/hdfs.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new()
        // Messages that hold secrets get a Debug of their own (src/proto.rs).
        .skip_debug([
            ".hadoop.common.Token",
            ".hadoop.common.RpcSasl",
            ".hadoop.yarn.ContainerLaunchContext",
            ".hadoop.yarn.RegisterApplicationMasterResponse",
        ])
        .enum_attribute(".hadoop.common.RpcSasl.SaslState", "#[derive(Debug)]")
        .compile_fds(descriptors)?;
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    Ok(())
}
