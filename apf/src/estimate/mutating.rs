//! Mutating requests, which pay for the watches they notify.

use super::{EVENT_NS, MUTATING_SEATS_MAX, SEATS_MIN, WATCHES_PER_SEAT, cap};
use crate::number;
use crate::request::RequestInfo;
use crate::seats::{SeatSeconds, Work};

pub(super) fn work(request: &RequestInfo, interested: impl FnOnce() -> u64, max_seats: u32) -> Work {
    let is_token = request.resource == "serviceaccounts" && request.subresource == "token";
    let watches = if is_token { 0 } else { interested() };
    if watches < WATCHES_PER_SEAT {
        return Work::seats(SEATS_MIN);
    }
    let seats = number::ceil_seats(number::float(watches.div_ceil(WATCHES_PER_SEAT)));
    let work = SeatSeconds::of_seats(seats, EVENT_NS);
    let final_seats = seats.min(cap(MUTATING_SEATS_MAX, max_seats));
    Work { initial_seats: SEATS_MIN, final_seats, linger_ns: work.per_seat_ns(final_seats) }
}
