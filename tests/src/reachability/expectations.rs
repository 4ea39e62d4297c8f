//! Where another answer than the recorded one is the point.

/// A case whose recorded answer is not what is wanted.
#[derive(Debug)]
pub(crate) struct Different {
    /// Its id, without what says which family or variant it is: `-v6`, for instance.
    case: &'static str,
    /// The outcome that is wanted where the recorded one is not seen.
    pub(crate) outcome: &'static str,
    pub(crate) reason: &'static str,
}

/// Nothing else may differ from the recorded answers.
const DIFFERENT: &[Different] = &[
    Different {
        case: "clusterip-ping",
        outcome: "ok",
        reason: "an address that serves is there: answering echo requests is what users expect (kubernetes#47156)",
    },
    Different {
        case: "external-ping",
        outcome: "ok",
        reason: "as for cluster IPs, for addresses that this node serves (kubernetes#47156)",
    },
    Different {
        case: "nodeport-loopback",
        outcome: "ok",
        reason: "node ports on 127.0.0.1 and ::1 are served by the socket hooks, as users ask for (KEP-6032)",
    },
];

/// Why endpoints of n1 may see a client from outside as itself where n1 was recorded, in every case.
pub(crate) const CLIENT_KEPT: &str = "an endpoint on the node that was asked needs no masquerading: its \
    answer passes that node anyway, and it sees who asks";

/// Why a case may differ, and how.
pub(crate) fn different(case: &str) -> Option<&'static Different> {
    let names = |different: &&Different| match case.strip_prefix(different.case) {
        Some(variant) => variant.is_empty() || variant.starts_with('-'),
        None => false,
    };
    DIFFERENT.iter().find(names)
}
