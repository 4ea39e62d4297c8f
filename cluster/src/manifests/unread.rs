//! Fields that the API has and Seaway does not read: a manifest may well hold them, so they are no
//! mistake. What is below them is not looked at.

use crate::Kind;

/// Whether the API has a field of this path (`spec.ports[0].appProtocol`), for a path that is not read.
pub(super) fn known(kind: Kind, path: &str) -> bool {
    let (parent, field) = path.rsplit_once('.').unwrap_or(("", path));
    let parent = without_indexes(parent);
    let own = match kind {
        Kind::Service => SERVICE,
        Kind::EndpointSlice => SLICE,
        Kind::Endpoints => ENDPOINTS,
        Kind::Pod => POD,
        Kind::Node => NODE,
        Kind::Namespace => NAMESPACE,
        Kind::ServiceCidr => SERVICE_CIDR,
        Kind::ServiceImport => SERVICE_IMPORT,
    };
    let mut groups = own.iter().chain(ANY);
    groups.any(|(group, fields)| *group == parent && fields.contains(&field))
}

fn without_indexes(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

/// Fields by the path of what they are in.
type Fields = &'static [(&'static str, &'static [&'static str])];

const ANY: Fields = &[
    ("", &["apiVersion", "kind"]),
    (
        "metadata",
        &[
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "finalizers",
            "generateName",
            "generation",
            "managedFields",
            "ownerReferences",
            "selfLink",
            "uid",
        ],
    ),
];
const SERVICE: Fields = &[
    ("spec", &["allocateLoadBalancerNodePorts", "ipFamilyPolicy", "loadBalancerClass", "loadBalancerIP"]),
    ("spec.ports", &["appProtocol"]),
    ("status", &["conditions"]),
    ("status.loadBalancer.ingress", &["hostname", "ports"]),
];
const SLICE: Fields = &[
    ("endpoints", &["deprecatedTopology"]),
    ("endpoints.targetRef", &["apiVersion", "fieldPath", "namespace", "resourceVersion", "uid"]),
    ("ports", &["appProtocol"]),
];
const ENDPOINTS: Fields = &[
    ("subsets.ports", &["appProtocol"]),
    ("subsets.addresses.targetRef", &["apiVersion", "fieldPath", "namespace", "resourceVersion", "uid"]),
    (
        "subsets.notReadyAddresses.targetRef",
        &["apiVersion", "fieldPath", "namespace", "resourceVersion", "uid"],
    ),
];
const CONTAINER: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicyRules",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
];
const POD: Fields = &[
    (
        "spec",
        &[
            "activeDeadlineSeconds",
            "affinity",
            "automountServiceAccountToken",
            "dnsConfig",
            "dnsPolicy",
            "enableServiceLinks",
            "ephemeralContainers",
            "hostAliases",
            "hostIPC",
            "hostPID",
            "hostUsers",
            "hostnameOverride",
            "imagePullSecrets",
            "nodeSelector",
            "os",
            "overhead",
            "preemptionPolicy",
            "priority",
            "priorityClassName",
            "readinessGates",
            "resourceClaims",
            "resources",
            "restartPolicy",
            "runtimeClassName",
            "schedulerName",
            "schedulingGates",
            "securityContext",
            "serviceAccount",
            "serviceAccountName",
            "setHostnameAsFQDN",
            "shareProcessNamespace",
            "terminationGracePeriodSeconds",
            "tolerations",
            "topologySpreadConstraints",
            "volumes",
            "workloadRef",
        ],
    ),
    ("spec.containers", CONTAINER),
    ("spec.initContainers", CONTAINER),
    (
        "status",
        &[
            "allocatedResources",
            "containerStatuses",
            "ephemeralContainerStatuses",
            "extendedResourceClaimStatus",
            "hostIP",
            "hostIPs",
            "initContainerStatuses",
            "message",
            "nominatedNodeName",
            "observedGeneration",
            "qosClass",
            "reason",
            "resize",
            "resourceClaimStatuses",
            "resources",
            "startTime",
        ],
    ),
    (
        "status.conditions",
        &["lastProbeTime", "lastTransitionTime", "message", "observedGeneration", "reason"],
    ),
];
const NODE: Fields = &[
    ("spec", &["configSource", "externalID", "providerID", "unschedulable"]),
    ("spec.taints", &["effect", "timeAdded", "value"]),
    (
        "status",
        &[
            "allocatable",
            "capacity",
            "conditions",
            "config",
            "daemonEndpoints",
            "declaredFeatures",
            "features",
            "images",
            "nodeInfo",
            "phase",
            "runtimeHandlers",
            "volumesAttached",
            "volumesInUse",
        ],
    ),
];
const NAMESPACE: Fields = &[("", &["spec", "status"])];
const SERVICE_CIDR: Fields = &[("", &["status"])];
const SERVICE_IMPORT: Fields = &[
    ("", &["status"]),
    (
        "spec",
        &[
            "internalTrafficPolicy",
            "ipFamilies",
            "sessionAffinity",
            "sessionAffinityConfig",
            "trafficDistribution",
        ],
    ),
    ("spec.ports", &["appProtocol"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, path: &str, expected: bool) {
        assert_eq!(known(kind, path), expected, "{kind} {path}");
    }

    #[test]
    fn fields_of_the_api_are_known_where_they_belong_and_nowhere_else() {
        check(Kind::Service, "metadata.managedFields", true);
        check(Kind::Service, "apiVersion", true);
        check(Kind::Service, "spec.ports[3].appProtocol", true);
        check(Kind::Service, "spec.appProtocol", false);
        check(Kind::Service, "spec.port", false);
        check(Kind::Pod, "spec.containers[0].image", true);
        check(Kind::Pod, "spec.volumes", true);
        check(Kind::Pod, "volumes", false);
        check(Kind::Namespace, "spec", true);
        check(Kind::EndpointSlice, "spec", false);
    }
}
