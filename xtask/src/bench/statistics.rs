//! Medians, and how far values lie apart.

/// Values of several rounds.
#[derive(Default)]
pub(super) struct Values(Vec<f64>);

impl Values {
    /// Adds one.
    pub(super) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Median, lowest and highest.
    pub(super) fn summary(&self) -> (f64, f64, f64) {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
        (at(sorted.len() / 2), at(0), at(sorted.len().saturating_sub(1)))
    }
}
