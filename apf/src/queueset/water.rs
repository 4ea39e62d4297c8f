//! Max-min fair shares: how high the water stands when it fills queues up to what each wants.

use crate::number;

/// Wants above this count as this many; no server has more seats.
const WANT_MAX: usize = 4096;

/// Active queues by what they want, as two Fenwick trees: number of queues and sum of wants.
#[derive(Clone, Debug)]
pub(super) struct WaterLevel {
    queues: Vec<u32>,
    wants: Vec<u64>,
    active: u32,
}

impl Default for WaterLevel {
    fn default() -> Self {
        Self { queues: vec![0; WANT_MAX + 1], wants: vec![0; WANT_MAX + 1], active: 0 }
    }
}

impl WaterLevel {
    /// An active queue changes what it wants; `None` for not being active.
    pub(super) fn replace(&mut self, old: Option<u32>, new: Option<u32>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.active -= 1;
            self.each(old, |queues, wants, want| {
                *queues -= 1;
                *wants -= want;
            });
        }
        if let Some(new) = new {
            self.active += 1;
            self.each(new, |queues, wants, want| {
                *queues += 1;
                *wants += want;
            });
        }
    }

    /// The level at which all active queues together hold `usable` seats; if all can have what they
    /// want, the level of the equal share.
    pub(super) fn level(&self, usable: u64) -> f64 {
        if self.active == 0 {
            return 0.0;
        }
        // The greatest want that the water covers: binary descent over the prefix sums.
        let (mut covered, mut held, mut position) = (0u32, 0u64, 0usize);
        let mut step = WANT_MAX;
        while step > 0 {
            let next = position + step;
            if next <= WANT_MAX {
                let queues = covered + self.queues[next];
                let wants = held + self.wants[next];
                let needed = wants + u64::from(self.active - queues) * (next as u64);
                if needed <= usable {
                    (covered, held, position) = (queues, wants, next);
                }
            }
            step /= 2;
        }
        if covered == self.active {
            return number::float(usable) / f64::from(self.active);
        }
        number::float(usable - held) / f64::from(self.active - covered)
    }

    fn each(&mut self, want: u32, change: impl Fn(&mut u32, &mut u64, u64)) {
        // Index 0 is not part of a Fenwick tree: a want of 0 counts as 1 without weight.
        let at = (want as usize).clamp(1, WANT_MAX);
        let weight = u64::from(want).min(WANT_MAX as u64);
        let mut index = at;
        while index <= WANT_MAX {
            change(&mut self.queues[index], &mut self.wants[index], weight);
            index += index & index.wrapping_neg();
        }
    }
}
