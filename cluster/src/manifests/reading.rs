//! A file read if it may have changed since it was last read.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// A file that changed this shortly before it was read may change again within one tick of the
/// file system's clock, so its times do not prove that it is unchanged.
const CLOCK_TICK: Duration = Duration::from_secs(2);

/// What a file was when it was last read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    stamp: Stamp,
    /// An equal stamp proves that the file is unchanged.
    settled: bool,
    digest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Reading {
    /// Reads the file at the time `now`, unless it is sure to be what it was `before`.
    ///
    /// # Errors
    /// If it is not there, may not be read, is too long or not a regular file, or is not UTF-8.
    pub(super) fn of(
        file: &Path,
        before: Option<&Self>,
        now: SystemTime,
    ) -> io::Result<Option<(String, Self)>> {
        let metadata = fs::metadata(file)?;
        let stamp = Stamp::of(&metadata);
        if before.is_some_and(|before| before.settled && before.stamp == stamp) {
            return Ok(None);
        }
        // Opening a pipe or a device could block for ever.
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let text = fs::read_to_string(file)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let reading = Self { stamp, settled: stamp.is_old(now), digest: hasher.finish() };
        Ok(Some((text, reading)))
    }

    /// Whether both found the same text.
    pub(super) fn same_text(&self, other: &Self) -> bool {
        self.digest == other.digest && self.stamp.bytes == other.stamp.bytes
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The time of the last change is taken, since that of the last modification can be set.
    fn is_old(&self, now: SystemTime) -> bool {
        let changed =
            u64::try_from(self.changed.0).ok().map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        changed.and_then(|time| now.duration_since(time).ok()).is_some_and(|age| age > CLOCK_TICK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_until_its_time_proves_that_it_is_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        fs::write(&file, "x").unwrap();
        let changed = UNIX_EPOCH + Duration::from_secs(fs::metadata(&file).unwrap().ctime().unsigned_abs());
        let check = |age_s: u64, expected: bool| {
            let (_, first) = Reading::of(&file, None, changed + Duration::from_secs(age_s)).unwrap().unwrap();
            let second = Reading::of(&file, Some(&first), changed).unwrap();
            assert_eq!(second.is_some(), expected, "read {age_s} s after its last change");
        };
        check(0, true);
        check(2, true);
        check(3, false);
    }
}
