//! Shuffle sharding: from a flow's hash to its hand of queues.
//!
//! The hash is read as a number in a mixed radix (deck, deck-1, …); each digit picks one of the
//! cards not dealt yet. Divisions are by numbers known beforehand, so they become multiplications
//! that do not wait for each other.

/// The most cards a valid dealer deals.
pub const HAND_MAX: usize = 15;

/// Deals hands from a deck of queues.
#[derive(Clone, Debug)]
pub struct Dealer {
    deck: u64,
    hand: usize,
    /// Division by the product of the first `i + 1` radices.
    divisors: [Reciprocal; HAND_MAX],
}

/// The queues dealt to one flow, all different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hand {
    cards: [u32; HAND_MAX],
    len: usize,
}

/// Why a dealer cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Deck or hand is 0 or less.
    #[error("deck size {deck} and hand size {hand} must be positive")]
    NotPositive {
        /// Number of queues.
        deck: i64,
        /// Number of cards.
        hand: i64,
    },
    /// More cards than queues.
    #[error("hand size {hand} is greater than deck size {deck}")]
    HandExceedsDeck {
        /// Number of queues.
        deck: i64,
        /// Number of cards.
        hand: i64,
    },
    /// More queues than the dealer handles.
    #[error("deck size {0} is greater than {max}", max = Dealer::DECK_MAX)]
    DeckTooLarge(i64),
    /// The hash has too few bits for fair hands.
    #[error("{0} bits of hash needed, {max} available", max = Dealer::ENTROPY_BITS_MAX)]
    TooMuchEntropy(u32),
}

impl Dealer {
    /// The largest deck.
    pub const DECK_MAX: i64 = 1 << 26;
    /// Bits of the hash that may be used: the last digit is then biased by at most 33:32.
    pub const ENTROPY_BITS_MAX: u32 = 60;

    /// A dealer of `hand` cards from a deck of `deck` queues.
    ///
    /// # Errors
    /// The first rule broken, in the order of [`Error`].
    pub fn new(deck: i64, hand: i64) -> Result<Self, Error> {
        if deck <= 0 || hand <= 0 {
            return Err(Error::NotPositive { deck, hand });
        }
        if hand > deck {
            return Err(Error::HandExceedsDeck { deck, hand });
        }
        if deck > Self::DECK_MAX {
            return Err(Error::DeckTooLarge(deck));
        }
        let bits = Self::entropy_bits(deck, hand);
        if bits > Self::ENTROPY_BITS_MAX {
            return Err(Error::TooMuchEntropy(bits));
        }
        let deck = deck.unsigned_abs();
        let hand = usize::try_from(hand).unwrap_or(HAND_MAX);
        let mut product = 1;
        let mut divisors = [Reciprocal::of(1); HAND_MAX];
        for (divisor, dealt) in divisors.iter_mut().zip(0..hand as u64) {
            product *= deck - dealt;
            *divisor = Reciprocal::of(product);
        }
        Ok(Self { deck, hand, divisors })
    }

    /// Bits of hash that a deck and hand use up: ceil(log2(deck) x hand).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "sizes below 2^31, result below 2^11")]
    pub fn entropy_bits(deck: i64, hand: i64) -> u32 {
        if deck <= 0 || hand <= 0 {
            return 0;
        }
        ((deck as f64).log2() * hand as f64).ceil() as u32
    }

    /// Number of queues.
    #[must_use]
    pub const fn deck(&self) -> u64 {
        self.deck
    }

    /// Number of cards dealt.
    #[must_use]
    pub const fn hand(&self) -> usize {
        self.hand
    }

    /// The hand for a hash.
    #[must_use]
    #[inline]
    pub fn deal(&self, hash: u64) -> Hand {
        match self.hand {
            6 => self.deal_exactly::<6>(hash),
            4 => self.deal_exactly::<4>(hash),
            8 => self.deal_exactly::<8>(hash),
            1 => self.deal_exactly::<1>(hash),
            _ => self.deal_up_to::<HAND_MAX>(hash, self.hand),
        }
    }

    #[inline]
    fn deal_exactly<const N: usize>(&self, hash: u64) -> Hand {
        self.deal_up_to::<N>(hash, N)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "digits are below the deck size of at most 2^26")]
    fn deal_up_to<const N: usize>(&self, hash: u64, len: usize) -> Hand {
        let len = len.min(N);
        let mut digits = [0u32; N];
        let mut above = hash;
        for (dealt, digit) in digits.iter_mut().enumerate().take(len) {
            let quotient = self.divisors[dealt].divide(hash);
            *digit = (above - quotient * (self.deck - dealt as u64)) as u32;
            above = quotient;
        }
        let mut cards = [0; HAND_MAX];
        for index in 0..len {
            let mut card = digits[index];
            for earlier in (0..index).rev() {
                card += u32::from(card >= digits[earlier]);
            }
            cards[index] = card;
        }
        Hand { cards, len }
    }
}

impl Hand {
    /// The cards in the order dealt.
    #[must_use]
    #[inline]
    pub fn cards(&self) -> &[u32] {
        &self.cards[..self.len]
    }
}

/// Exact division of any u64 by one divisor: multiply by a 65-bit reciprocal, whose top bit is
/// implied, and shift (Granlund and Montgomery, "Division by Invariant Integers", figure 4.1).
#[derive(Clone, Copy, Debug)]
struct Reciprocal {
    magic: u64,
    first_shift: u32,
    second_shift: u32,
}

impl Reciprocal {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the reciprocal without its implied top bit fits in 64"
    )]
    fn of(divisor: u64) -> Self {
        let bits = u64::BITS - (divisor - 1).leading_zeros();
        let magic =
            ((1u128 << 64) * ((1u128 << bits) - u128::from(divisor)) / u128::from(divisor) + 1) as u64;
        Self { magic, first_shift: bits.min(1), second_shift: bits.saturating_sub(1) }
    }

    #[inline]
    fn divide(self, number: u64) -> u64 {
        let high = ((u128::from(self.magic) * u128::from(number)) >> 64) as u64;
        (high + ((number - high) >> self.first_shift)) >> self.second_shift
    }
}

/// Probability that a light flow's hand lies wholly inside the union of `heavy` other hands, when
/// all hands are dealt ideally. Zero if there is no such hand.
#[must_use]
pub fn collision_probability(deck: i64, hand: i64, heavy: u32) -> f64 {
    let (Ok(deck), Ok(hand)) = (usize::try_from(deck), usize::try_from(hand)) else { return 0.0 };
    if hand == 0 || hand > deck {
        return 0.0;
    }
    // covered[i]: probability that the union has grown to `hand + i` queues.
    let mut covered = vec![f64::from(u32::from(heavy > 0))];
    for _ in 1..heavy {
        let mut grown = vec![0.0; (covered.len() + hand).min(deck - hand + 1)];
        for (size, chance) in covered.iter().enumerate().map(|(i, p)| (hand + i, *p)) {
            for fresh in 0..=hand.min(deck - size) {
                grown[size + fresh - hand] += chance * hypergeometric(deck, size, hand, hand - fresh);
            }
        }
        covered = grown;
    }
    covered.iter().enumerate().map(|(i, p)| p * hypergeometric(deck, hand + i, hand, hand)).sum()
}

/// Chance that `drawn` cards of a deck hold exactly `hits` of its `marked` cards.
fn hypergeometric(deck: usize, marked: usize, drawn: usize, hits: usize) -> f64 {
    if hits > marked || drawn - hits > deck - marked {
        return 0.0;
    }
    let choose = |n: usize, k: usize| -> f64 { (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product() };
    choose(marked, hits) * choose(deck - marked, drawn - hits) / choose(deck, drawn)
}
