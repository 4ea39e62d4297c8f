//! Reading whole hash maps and writing many entries, thousands a system call.

use std::io;
use std::os::fd::AsFd;
use std::thread;

use bytemuck::Pod;

use crate::bpf::{lookup_batch, update_batch};

/// Entries a call. A bucket must fit as a whole, and the kernel says so when one does not.
const BATCH: usize = 4096;

/// Tries for an entry that found no memory: the kernel gets more of it behind a map's back, a little later.
const TRIES: usize = 100;

/// Writes entries of a hash map, replacing those that are there.
///
/// # Errors
/// The kernel's; entries before the one that failed are written.
pub fn update<K: Pod, V: Pod>(map: impl AsFd, keys: &[K], values: &[V]) -> io::Result<()> {
    let (mut done, mut tries) = (0, 0);
    while done < keys.len() {
        let end = keys.len().min(done + BATCH);
        let (written, result) = update_batch(map.as_fd(), &keys[done..end], &values[done..end]);
        match result {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && tries < TRIES => {
                tries = if written == 0 { tries + 1 } else { 0 };
                thread::yield_now();
            }
            result => result?,
        }
        done += written.min(end - done);
    }
    Ok(())
}

/// Every entry of a hash map that holds at most `most`. Entries that programs add meanwhile may
/// be missed; an entry can be returned twice if the map is changed while it is read.
///
/// # Errors
/// The kernel's.
pub fn entries<K: Pod, V: Pod>(map: impl AsFd, most: u32) -> io::Result<Vec<(K, V)>> {
    let mut all = Vec::new();
    for_each(map, most, |batch| all.extend(batch))?;
    Ok(all)
}

/// As [`entries`], a batch at a time.
///
/// # Errors
/// The kernel's.
pub fn for_each<K: Pod, V: Pod>(
    map: impl AsFd,
    most: u32,
    mut work: impl FnMut(&mut dyn Iterator<Item = (K, V)>),
) -> io::Result<()> {
    let mut batch = BATCH.min(most as usize).max(1);
    let mut cursor = None;
    loop {
        let mut keys = vec![K::zeroed(); batch];
        let mut values = vec![V::zeroed(); batch];
        match lookup_batch(map.as_fd(), &mut cursor, &mut keys, &mut values) {
            Ok((count, ended)) => {
                work(&mut keys.into_iter().zip(values).take(count));
                if ended {
                    return Ok(());
                }
            }
            // One bucket holds more than a batch: take a larger one, from where we were.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => batch *= 2,
            Err(error) => return Err(error),
        }
    }
}
