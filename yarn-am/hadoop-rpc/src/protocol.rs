//! The protocols this crate speaks, as data: their names on the wire, the tokens that open them, their servers' principals.

/// A protocol of Hadoop's RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// The Java interface that stands for it on the wire.
    pub name: &'static str,
    /// The kind of token that opens it.
    pub token_kind: &'static str,
    /// Whether a token of that kind is right whatever its service says.
    pub any_service: bool,
    /// The configuration key of its servers' principal.
    pub principal_key: &'static str,
}

impl Protocol {
    /// Clients of YARN.
    pub const APPLICATION_CLIENT: Protocol = Protocol {
        name: "org.apache.hadoop.yarn.api.ApplicationClientProtocolPB",
        token_kind: "RM_DELEGATION_TOKEN",
        any_service: false,
        principal_key: "yarn.resourcemanager.principal",
    };

    /// An ApplicationMaster and the ResourceManager. Its token is issued without a service.
    pub const APPLICATION_MASTER: Protocol = Protocol {
        name: "org.apache.hadoop.yarn.api.ApplicationMasterProtocolPB",
        token_kind: "YARN_AM_RM_TOKEN",
        any_service: true,
        principal_key: "yarn.resourcemanager.principal",
    };

    /// An ApplicationMaster and a NodeManager.
    pub const CONTAINER_MANAGEMENT: Protocol = Protocol {
        name: "org.apache.hadoop.yarn.api.ContainerManagementProtocolPB",
        token_kind: "NMToken",
        any_service: false,
        principal_key: "yarn.nodemanager.principal",
    };

    /// Clients of HDFS and the NameNode.
    pub const NAME_NODE: Protocol = Protocol {
        name: "org.apache.hadoop.hdfs.protocol.ClientProtocol",
        token_kind: "HDFS_DELEGATION_TOKEN",
        any_service: false,
        principal_key: "dfs.namenode.kerberos.principal",
    };
}
