//! The tags on our ENIs. All but the intent's are the peer's, so that either one's sweep knows the other's ENIs.

/// The instance that an ENI was made for.
pub const INSTANCE: &str = "node.k8s.amazonaws.com/instance_id";

/// When it was made, RFC 3339.
pub const CREATED_AT: &str = "node.k8s.amazonaws.com/createdAt";

/// The cluster.
pub const CLUSTER: &str = "cluster.k8s.amazonaws.com/name";

/// Who owns the ENI; only with a cluster.
pub const OWNER: &str = "eks:eni:owner";

/// The value of [`OWNER`]: the peer's.
pub const OWNER_VALUE: &str = "amazon-vpc-cni";

/// The intent that made it: how an ENI is found again after a lost answer.
pub const INTENT: &str = "berth.io/intent";

/// Set to `true` by whoever wants an ENI left alone.
pub const NO_MANAGE: &str = "node.k8s.amazonaws.com/no_manage";

/// On a subnet: whether pods may have addresses of it (the peer's subnet discovery).
pub const SUBNET_ROLE: &str = "kubernetes.io/role/cni";

/// On a subnet: the beginning of a key that ends with the name of a cluster that it is meant for.
pub const SUBNET_CLUSTER: &str = "cni.networking.k8s.aws/cluster/";
