//! Names, uids and times as Kubernetes makes them.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// The letters of generated names: none that could spell a word (apimachinery/pkg/util/rand, v0.34.4).
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Letters that are added to a prefix.
const SUFFIX_LETTERS: usize = 5;

/// The longest prefix that is kept (apiserver/pkg/storage/names/generate.go, v0.34.4).
const PREFIX_MAX: usize = 63 - SUFFIX_LETTERS;

/// Fresh random bytes: a hash of the kernel's own.
fn random() -> [u8; 32] {
    let mut seed = [0; 32];
    // The kernel's generator does not fail once the machine is up; were it to, the time still makes names differ.
    let filled = rustix::rand::getrandom(&mut seed[..], rustix::rand::GetRandomFlags::empty());
    let mut hash = Sha256::new();
    hash.update(seed);
    if filled.is_err() {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        hash.update(since.as_nanos().to_le_bytes());
    }
    hash.finalize().into()
}

/// Random letters as in generated names.
#[must_use]
pub fn letters(count: usize) -> String {
    random().iter().cycle().take(count).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

/// `SafeEncodeString`: digits as the letters of generated names.
#[must_use]
pub fn safe_encode(text: &str) -> String {
    text.bytes().map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}

/// A name with this prefix that is not taken, as far as chance goes.
#[must_use]
pub fn generate(prefix: &str) -> String {
    let end = prefix.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= PREFIX_MAX).last();
    format!("{}{}", &prefix[..end.unwrap_or(0)], letters(SUFFIX_LETTERS))
}

/// A uid: a random UUID, version 4.
#[must_use]
pub fn uid() -> String {
    let random = random();
    let mut bytes: [u8; 16] = std::array::from_fn(|at| random[at]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The wall clock. It is read once and then carried on by tokio's clock: no step of the machine's clock makes objects
/// older or younger than they are, and a test that pauses time finds objects as old as it made them.
#[must_use]
pub fn now() -> Timestamp {
    static START: OnceLock<(Instant, Timestamp)> = OnceLock::new();
    let (since, at) = *START.get_or_init(|| (Instant::now(), Timestamp::now()));
    let now = Instant::now();
    let moved = match now.checked_duration_since(since) {
        Some(later) => at.checked_add(later),
        // Another test's clock may have been ahead of this one.
        None => at.checked_sub(since.duration_since(now)),
    };
    moved.unwrap_or(at)
}

/// The time as objects have it: whole seconds, `2006-01-02T15:04:05Z`.
#[must_use]
pub fn now_seconds() -> String {
    in_seconds(Duration::ZERO)
}

/// A time from now on, in whole seconds.
#[must_use]
pub fn in_seconds(later: Duration) -> String {
    let at = Timestamp::from_second(now().checked_add(later).unwrap_or(Timestamp::MAX).as_second()).unwrap_or_default();
    at.to_string()
}

/// The time with microseconds, as leases and events have it.
#[must_use]
pub fn now_micros() -> String {
    now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Sixteen hexadecimal digits that stand for a text.
#[must_use]
pub fn digest(text: &str) -> String {
    let mut hex = format!("{:x}", Sha256::digest(text.as_bytes()));
    hex.truncate(16);
    hex
}
