//! Which queue goes first: a tournament over the queues' virtual finish times.
//!
//! A complete binary tree in one vector keeps, per subtree, the least key and the least width of the
//! heads below. Changing one queue, finding the winner and finding the winner among heads of a
//! limited width all touch one path, and nothing is allocated between changes of the queue count.

use crate::number;

const NOTHING: Node = Node { key: u64::MAX, width: u32::MAX };

/// The queues with waiters, ordered by key and then round robin.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Number of leaves, a power of two; node `i` has children `2i` and `2i + 1`, leaves come last.
    leaves: usize,
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    key: u64,
    width: u32,
}

impl Order {
    /// An order of this many queues, all without waiters.
    #[must_use]
    pub fn new(queues: usize) -> Self {
        let leaves = queues.next_power_of_two();
        Self { leaves, nodes: vec![NOTHING; 2 * leaves] }
    }

    /// Sets the virtual finish of a queue's head and its seats, or that nothing waits there.
    #[inline]
    pub fn set(&mut self, queue: u32, head: Option<(u64, u32)>) {
        let leaf = head.map_or(NOTHING, |(key, width)| Node { key: key.min(u64::MAX - 1), width });
        let mut at = self.leaves + queue as usize;
        if self.nodes[at] == leaf {
            return;
        }
        self.nodes[at] = leaf;
        while at > 1 {
            let (own, sibling) = (self.nodes[at], self.nodes[at ^ 1]);
            let both = Node { key: own.key.min(sibling.key), width: own.width.min(sibling.width) };
            at /= 2;
            if self.nodes[at] == both {
                return;
            }
            self.nodes[at] = both;
        }
    }

    /// The queue with the least key; of several, the first one after `robin`, cyclically.
    #[must_use]
    #[inline]
    pub fn first(&self, robin: i64) -> Option<u32> {
        let least = self.nodes.get(1)?.key;
        if least == NOTHING.key {
            return None;
        }
        let from = usize::try_from(robin + 1).unwrap_or(0);
        self.find(from, least).or_else(|| self.find(0, least))
    }

    /// The queue with the least key among those whose head takes at most `width` seats.
    #[must_use]
    pub fn first_fitting(&self, width: u32) -> Option<u32> {
        let mut best = (NOTHING.key, None);
        if !self.nodes.is_empty() {
            self.search(1, width, &mut best);
        }
        best.1
    }

    /// First queue from `from` on whose key is `least`, the least of all.
    #[inline]
    fn find(&self, from: usize, least: u64) -> Option<u32> {
        if from >= self.leaves {
            return None;
        }
        let mut at = self.leaves + from;
        while self.nodes[at].key != least {
            // Up to the first subtree that lies wholly to the right.
            while at & 1 == 1 {
                at /= 2;
            }
            if at == 0 {
                return None;
            }
            at += 1;
        }
        while at < self.leaves {
            at *= 2;
            at += usize::from(self.nodes[at].key != least);
        }
        Some(number::index(at - self.leaves))
    }

    fn search(&self, at: usize, width: u32, best: &mut (u64, Option<u32>)) {
        let node = self.nodes[at];
        if node.width > width || node.key >= best.0 {
            return;
        }
        if at >= self.leaves {
            *best = (node.key, Some(number::index(at - self.leaves)));
            return;
        }
        let (left, right) = (2 * at, 2 * at + 1);
        let left_first = self.nodes[left].key <= self.nodes[right].key;
        for child in if left_first { [left, right] } else { [right, left] } {
            self.search(child, width, best);
        }
    }
}
