//! What has to pass, and where another answer than the recorded one is the point.

/// A group that has to pass.
#[derive(Debug)]
pub(crate) struct Required {
    pub(crate) group: &'static str,
    /// What the dataplane must be able to do for it.
    pub(crate) _needs: &'static str,
}

/// A case whose recorded answer is not what is wanted.
#[derive(Debug)]
pub(crate) struct Different {
    pub(crate) case: &'static str,
    pub(crate) reason: &'static str,
}

/// In order of names.
pub(crate) const REQUIRED: &[Required] = &[];

/// Nothing else may differ from the recorded answers.
pub(crate) const DIFFERENT: &[Different] = &[];

/// Why a case may differ.
pub(crate) fn different(case: &str) -> Option<&'static Different> {
    DIFFERENT.iter().find(|different| different.case == case)
}
