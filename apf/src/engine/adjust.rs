//! New seats for every level: at each tick, after each digestion, and when a level is in need.

use super::{Engine, Table};
use crate::borrow::{self, Party};
use crate::level::{Level, Waiter};
use crate::number;
use smallvec::SmallVec;
use std::sync::Arc;

/// Why seats are shared out.
#[derive(Debug)]
pub(super) enum Occasion<'a, W> {
    /// A period of statistics has ended.
    Tick,
    /// A level needs its nominal seats.
    Need(&'a Arc<Level<W>>),
    /// The server has another number of seats.
    Resize,
}

impl<W: Waiter> Engine<W> {
    /// Ends the period of statistics and shares out the seats anew. To be called every
    /// [`borrow::PERIOD_NS`]. Levels without an object that have become idle are forgotten.
    pub fn tick(&self, now_ns: u64) {
        self.forget_quiescent();
        let table = self.table.read();
        self.adjust(&table, now_ns, &Occasion::Tick);
    }

    /// Gives one level this many seats until the next adjustment, as an operator's emergency brake.
    pub fn limit_level(&self, now_ns: u64, level: &str, seats: u32) {
        if let Some(level) = self.table.read().levels.get(level) {
            level.with(|state| state.queues.set_seats(now_ns, seats));
        }
    }

    /// Shares out the seats. A level in need is given its nominal seats now, as far as the others do
    /// not use theirs. Only a tick ends the period.
    pub(super) fn adjust(&self, table: &Table<W>, now_ns: u64, occasion: &Occasion<'_, W>) {
        let mut fraction = self.adjusting.lock();
        let mut parties = SmallVec::<[Party; 16]>::new();
        for level in table.levels.values() {
            let mut state = level.state();
            match occasion {
                Occasion::Tick => {
                    let period = state.queues.demand().reset(now_ns);
                    state.demand.update(period);
                    state.claimed = false;
                    state.top.decay();
                }
                Occasion::Need(needy) => state.claimed |= Arc::ptr_eq(needy, level),
                Occasion::Resize => {}
            }
            let mut party = state.party();
            if !matches!(occasion, Occasion::Tick) {
                let so_far = number::round_seats(state.queues.demand().get(now_ns).max);
                let claim = if state.claimed { party.limits.nominal } else { 0 };
                party.demand.high_watermark = party.demand.high_watermark.max(so_far).max(claim);
            }
            parties.push(party);
        }
        *fraction = borrow::adjust(&mut parties, self.settings.behaviour.subtract_exempt);
        for (level, party) in table.levels.values().zip(&parties) {
            level.with(|state| {
                state.target = party.target;
                state.queues.set_seats(now_ns, party.seats);
            });
        }
    }
}
