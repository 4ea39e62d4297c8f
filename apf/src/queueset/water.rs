//! Max-min fair shares: how high the water stands when it fills queues up to what each wants.
//!
//! A queue of weight 3 is a vessel three times as wide: it holds three times as much at one height.

use crate::number;

/// Heights above count as this one; no server has more seats.
const HEIGHT_MAX: usize = 4096;

/// Active queues by the height at which they have what they want, as two Fenwick trees: weights of the
/// queues and sum of wants.
#[derive(Clone, Debug)]
pub(super) struct WaterLevel {
    weights: Vec<u64>,
    wants: Vec<u64>,
    active: u64,
}

impl Default for WaterLevel {
    fn default() -> Self {
        Self { weights: vec![0; HEIGHT_MAX + 1], wants: vec![0; HEIGHT_MAX + 1], active: 0 }
    }
}

impl WaterLevel {
    /// A queue changes what it wants, or its weight, which is 0 for one that is not active.
    pub(super) fn replace(&mut self, old: (u32, u32), new: (u32, u32)) {
        if old == new {
            return;
        }
        if old.1 > 0 {
            self.active -= u64::from(old.1);
            self.each(old, |weights, wants, (want, weight)| {
                *weights -= weight;
                *wants -= want;
            });
        }
        if new.1 > 0 {
            self.active += u64::from(new.1);
            self.each(new, |weights, wants, (want, weight)| {
                *weights += weight;
                *wants += want;
            });
        }
    }

    /// The height at which all active queues together hold `usable` seats; if all can have what they
    /// want, the height of the equal share.
    pub(super) fn level(&self, usable: u64) -> f64 {
        if self.active == 0 {
            return 0.0;
        }
        // The greatest height that the water covers: binary descent over the prefix sums.
        let (mut covered, mut held, mut position) = (0u64, 0u64, 0usize);
        let mut step = HEIGHT_MAX;
        while step > 0 {
            let next = position + step;
            if next <= HEIGHT_MAX {
                let weights = covered + self.weights[next];
                let wants = held + self.wants[next];
                let needed = wants + (self.active - weights) * (next as u64);
                if needed <= usable {
                    (covered, held, position) = (weights, wants, next);
                }
            }
            step /= 2;
        }
        if covered == self.active {
            return number::float(usable) / number::float(self.active);
        }
        number::float(usable - held) / number::float(self.active - covered)
    }

    fn each(&mut self, (want, weight): (u32, u32), change: impl Fn(&mut u64, &mut u64, (u64, u64))) {
        // Index 0 is not part of a Fenwick tree: a want of 0 counts as 1 without weight.
        let at = (want.div_ceil(weight) as usize).clamp(1, HEIGHT_MAX);
        let (weight, want) = (u64::from(weight), u64::from(want));
        let want = want.min(weight * HEIGHT_MAX as u64);
        let mut index = at;
        while index <= HEIGHT_MAX {
            change(&mut self.weights[index], &mut self.wants[index], (want, weight));
            index += index & index.wrapping_neg();
        }
    }
}
