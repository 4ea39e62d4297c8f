//! What has to pass, and where another answer than the recorded one is the point.

/// A group of cases that has to pass, and what the dataplane must be able to do for it.
#[derive(Debug)]
pub(crate) struct Required {
    pub(crate) group: &'static str,
    pub(crate) needs: &'static str,
}

/// A case whose recorded answer is not what is wanted.
#[derive(Debug)]
pub(crate) struct Different {
    pub(crate) case: &'static str,
    pub(crate) reason: &'static str,
}

/// In order of names.
pub(crate) const REQUIRED: &[Required] = &[
    Required { group: "backend-port-closed", needs: "errors of an endpoint reach the client" },
    Required { group: "headless", needs: "ClusterIP; Services without an address are left alone" },
    Required { group: "not-ready", needs: "ClusterIP; endpoints by their conditions" },
    Required { group: "publish-not-ready", needs: "ClusterIP; endpoints by their conditions" },
    Required { group: "ready-unset", needs: "ClusterIP; endpoints by their conditions" },
    Required { group: "slice", needs: "ClusterIP; slices by their Service" },
    Required { group: "spread", needs: "ClusterIP; a hundred endpoints" },
    Required { group: "two-slices", needs: "ClusterIP; slices by their Service" },
    Required { group: "unallocated-service-ip", needs: "other addresses are left alone" },
    Required { group: "vip-to-direct", needs: "other addresses are left alone" },
];

/// Nothing else may differ from the recorded answers.
pub(crate) const DIFFERENT: &[Different] = &[];

/// What a group has to pass for, if it has to.
pub(crate) fn required(group: &str) -> Option<&'static Required> {
    REQUIRED.iter().find(|required| required.group == group)
}

/// Why a case may differ.
pub(crate) fn different(case: &str) -> Option<&'static Different> {
    DIFFERENT.iter().find(|different| different.case == case)
}
