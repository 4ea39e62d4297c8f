//! The requests of a queue set: a table whose rows are reused, linked into first-in first-out lists.

use crate::number;
use crate::seats::{SeatSeconds, Work};

/// Stands for "no row".
pub(super) const NONE: u32 = u32::MAX;

/// A request of a queue set. It stays valid until the request's seats are released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    slot: u32,
    generation: u32,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Free,
    Waiting,
    Executing,
    Lingering,
}

#[derive(Clone, Debug)]
pub(super) struct Entry<D, W> {
    pub generation: u32,
    pub stage: Stage,
    /// Row of its queue; [`NONE`] for a request that passed no queue.
    pub queue: u32,
    previous: u32,
    pub next: u32,
    pub schema: u32,
    pub arrived_ns: u64,
    pub started_ns: u64,
    pub arrival_r: SeatSeconds,
    /// As estimated on arrival, or reshaped at dispatch.
    pub work: Work,
    /// As of arrival: what it adds to the waiting work of its queue.
    pub total: SeatSeconds,
    /// Weight of its flow; at least 1.
    pub weight: u32,
    /// As of arrival: what was added to the waiting seats.
    pub waiting_width: u32,
    pub detail: Option<D>,
    pub waiter: Option<W>,
}

#[derive(Clone, Debug)]
pub(super) struct Entries<D, W> {
    rows: Vec<Entry<D, W>>,
    free: Vec<u32>,
}

/// A list of waiting requests, oldest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fifo {
    pub head: u32,
    tail: u32,
    pub len: u32,
}

impl<D, W> Entries<D, W> {
    pub(super) const fn new() -> Self {
        Self { rows: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, entry: Entry<D, W>) -> RequestId {
        if let Some(slot) = self.free.pop() {
            let row = &mut self.rows[slot as usize];
            let generation = row.generation;
            *row = Entry { generation, ..entry };
            return RequestId { slot, generation };
        }
        let slot = number::index(self.rows.len());
        self.rows.push(entry);
        RequestId { slot, generation: 0 }
    }

    pub(super) fn remove(&mut self, id: RequestId) {
        let row = &mut self.rows[id.slot as usize];
        row.generation = row.generation.wrapping_add(1);
        row.stage = Stage::Free;
        row.detail = None;
        row.waiter = None;
        self.free.push(id.slot);
    }

    /// The row of a request, if it is still there.
    #[inline]
    pub(super) fn get(&self, id: RequestId) -> Option<&Entry<D, W>> {
        self.rows
            .get(id.slot as usize)
            .filter(|row| row.generation == id.generation && row.stage != Stage::Free)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Entry<D, W>> {
        self.rows
            .get_mut(id.slot as usize)
            .filter(|row| row.generation == id.generation && row.stage != Stage::Free)
    }

    pub(super) fn id(&self, slot: u32) -> RequestId {
        RequestId { slot, generation: self.rows[slot as usize].generation }
    }

    pub(super) fn at(&self, slot: u32) -> &Entry<D, W> {
        &self.rows[slot as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<D, W>> {
        self.rows.iter().filter(|row| row.stage != Stage::Free)
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = RequestId> {
        let rows = self.rows.iter().zip(0..).filter(|(row, _)| row.stage == Stage::Waiting);
        rows.map(|(row, slot)| RequestId { slot, generation: row.generation })
    }

    pub(super) fn waiting_mut(&mut self) -> impl Iterator<Item = &mut Entry<D, W>> {
        self.rows.iter_mut().filter(|row| row.stage == Stage::Waiting)
    }

    pub(super) fn push_back(&mut self, fifo: &mut Fifo, id: RequestId) {
        let row = &mut self.rows[id.slot as usize];
        (row.previous, row.next) = (fifo.tail, NONE);
        match fifo.tail {
            NONE => fifo.head = id.slot,
            tail => self.rows[tail as usize].next = id.slot,
        }
        fifo.tail = id.slot;
        fifo.len += 1;
    }

    pub(super) fn unlink(&mut self, fifo: &mut Fifo, id: RequestId) {
        let row = &self.rows[id.slot as usize];
        let (previous, next) = (row.previous, row.next);
        match previous {
            NONE => fifo.head = next,
            row => self.rows[row as usize].next = next,
        }
        match next {
            NONE => fifo.tail = previous,
            row => self.rows[row as usize].previous = previous,
        }
        fifo.len -= 1;
    }
}

impl<D, W> Entry<D, W> {
    /// What its queue is charged in virtual time: a flow of weight 3 pays a third.
    pub(super) const fn charge(&self) -> SeatSeconds {
        SeatSeconds(self.total.0 / self.weight as u64)
    }

    pub(super) fn new(schema: u32, now_ns: u64, work: Work, weight: u32, detail: D) -> Self {
        Self {
            generation: 0,
            stage: Stage::Waiting,
            queue: NONE,
            previous: NONE,
            next: NONE,
            schema,
            arrived_ns: now_ns,
            started_ns: 0,
            arrival_r: SeatSeconds(0),
            work,
            total: work.total(),
            weight: weight.max(1),
            waiting_width: work.width(),
            detail: Some(detail),
            waiter: None,
        }
    }
}

impl Default for Fifo {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0 }
    }
}
