//! Where answers differ from CoreDNS's by intent.

/// Case, and the rule that CoreDNS breaks.
const DIFFERENCES: &[(&str, &str)] = &[
    ("40-29", TXT),
    ("40-36", TXT),
    ("40-38", TXT),
    ("40-47", VERSION),
    ("40-48", VERSION),
    ("40-50", VERSION),
    ("40-55", TXT),
    ("40-66", CHASE_SOA),
    ("40-67", ALIAS),
    ("40-68", ALIAS),
    ("40-69", ALIAS),
    ("40-71", ALIAS_KEPT),
    ("40-73", ALIAS),
    ("40-74", ALIAS),
    ("42-19", PROTOCOL),
    ("42-23", NO_ADDRESS),
    ("42-41", CHASE_SOA),
    ("42-43", CHASE_SOA),
    ("42-44", ALIAS_KEPT),
    ("42-51", ALIAS),
    ("43-18", POD_LABELS),
    ("43-19", POD_LABELS),
    ("43-20", POD_PORT),
    ("45-05", ORPHAN),
    ("45-06", REVERSE),
    ("45-07", REVERSE),
    ("45-08", REVERSE),
    ("w02", QUESTION),
    ("w06-4", NOTIFY),
    ("w31", EDNS_SIZE),
    ("w32", EDNS_SIZE),
    ("w34", BAD_VERSION),
    ("w38", ECHO),
    ("w42", ECHO),
    ("w43", ECHO),
    ("w52", EDNS_SIZE),
];

const TXT: &str = "TXT at a name that exists is no data (section 20.1, 8)";
const VERSION: &str = "dns-version exists for every type (20.2)";
const REVERSE: &str = "an address that has a name exists, and so do the names above it (12.6)";
const CHASE_SOA: &str = "SOA where an alias leads to nothing (20.4)";
const ALIAS: &str = "an alias is one for every type (6)";
const ALIAS_KEPT: &str = "the alias stays where its target has no data (20.4)";
const PROTOCOL: &str = "a port without a protocol is TCP, as the API server's default has it";
const NO_ADDRESS: &str = "a Service without an address yet has no data (20.5)";
const POD_LABELS: &str = "pod names have no labels in front (7)";
const POD_PORT: &str = "pods have no ports (7)";
const ORPHAN: &str = "PTR needs a Service (20.11)";
const QUESTION: &str = "a missing question is a format error (15)";
const NOTIFY: &str = "NOTIFY is not implemented (15)";
const EDNS_SIZE: &str = "the server tells its own size (20.7)";
const BAD_VERSION: &str = "the server tells its size with BADVERS too (15)";
const ECHO: &str = "cookies, padding and unknown flags are not echoed (20.7)";

/// The rule by which a case differs, if it does.
pub(crate) fn of(id: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|(case, _)| *case == id).map(|(_, rule)| *rule)
}

/// Those that no switch undoes, since nobody can depend on them.
const ALWAYS: [&str; 7] = [PROTOCOL, NO_ADDRESS, POD_PORT, ORPHAN, QUESTION, NOTIFY, BAD_VERSION];

/// The same where every switch of `compat` is on.
pub(crate) fn of_all(id: &str) -> Option<&'static str> {
    of(id).filter(|rule| ALWAYS.contains(rule))
}
