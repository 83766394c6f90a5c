//! A histogram as it is kept in memory: the few values that occurred, in some two bytes each, not the 160 KB of
//! counters around them. It holds exactly what the `HdrHistogram` held, so merging is exact and percentiles are the
//! same.
//!
//! Reading one from a log checks sizes first: the library's decoder allocates what the bytes claim.

use std::io::Read;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{CreationError, Histogram, serialization::Deserializer};

/// The longest time that a histogram of ours tells from longer ones, in microseconds: five minutes.
pub const LONGEST_US: u64 = 300_000_000;

/// Significant digits of a histogram of ours: an error of at most one in a thousand.
pub const SIGNIFICANT_DIGITS: u8 = 3;

/// A histogram of times from a microsecond to [`LONGEST_US`] in which nothing was counted.
///
/// # Errors
///
/// Never: the bounds are those that the library allows.
pub fn empty_histogram() -> Result<Histogram<u64>, CreationError> {
    Histogram::new_with_bounds(1, LONGEST_US, SIGNIFICANT_DIGITS)
}

/// The largest histogram that a log may hold once it is inflated, in bytes. One of 5 minutes at three digits has
/// 20,480 counters of at most 9 bytes.
const INFLATED_MAX: u64 = 256 * 1024;

/// The largest value that a histogram may be able to hold, in microseconds: an hour.
const VALUE_MAX_US: u64 = 3_600_000_000;

/// The largest count of one value: far beyond any run, and small enough that sums cannot overflow.
const COUNT_MAX: i64 = 1 << 40;

/// Cookies of the V2 formats with eight-byte words, as `HdrHistogram`'s encoding has them.
const COOKIE_V2: u32 = 0x1c84_9303 | 0x10;
const COOKIE_V2_DEFLATE: u32 = 0x1c84_9304 | 0x10;

/// Bytes of a V2 header: cookie, length, offset, digits, lowest, highest, ratio.
const HEADER_V2: usize = 40;

/// Counted values in microseconds, each the highest of its histogram's bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    // By value, each value once: twice the distance from the value before it, and one more where it was counted more
    // than once; then the count follows. Both in LEB128, so that most pairs take one or two bytes: a record
    // holds a thousand of these for each lane, and more where something happened.
    packed: Box<[u8]>,
}

impl From<&Histogram<u64>> for Samples {
    fn from(histogram: &Histogram<u64>) -> Self {
        let (mut packed, mut before) = (Vec::new(), 0);
        for step in histogram.iter_recorded() {
            let (value, count) = (step.value_iterated_to(), step.count_at_value());
            push_leb128(&mut packed, ((value - before) << 1) | u64::from(count != 1));
            if count != 1 {
                push_leb128(&mut packed, count);
            }
            before = value;
        }
        Self { packed: packed.into_boxed_slice() }
    }
}

impl Samples {
    /// How many values were counted.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.iter().fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// Nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// The largest value in microseconds, 0 when empty.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.iter().last().map_or(0, |(value, _)| value)
    }

    /// The value in microseconds at or below which the share `quantile` (0 to 1) of the values lies, 0 when empty.
    #[must_use]
    pub fn value_at_quantile(&self, quantile: f64) -> u64 {
        let total = self.len();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count, clamped to 0..=1"
        )]
        let wanted = ((quantile.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0_u64;
        let mut reaches = |count: u64| {
            seen = seen.saturating_add(count);
            seen >= wanted
        };
        self.iter().find(|(_, count)| reaches(*count)).map_or(0, |(value, _)| value)
    }

    /// All values of several together.
    pub fn merged<'s>(several: impl Iterator<Item = &'s Self>) -> Self {
        let mut sum = Sum::default();
        several.for_each(|samples| sum.add(samples));
        sum.samples()
    }

    /// The values with their counts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (mut rest, mut value) = (&*self.packed, 0);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let step = leb128(&mut rest);
            value += step >> 1;
            Some((value, if step & 1 == 0 { 1 } else { leb128(&mut rest) }))
        })
    }

    /// Reads a histogram as an interval log has it: base64 of the V2 format, deflated or not. The error says what is
    /// wrong with it.
    pub fn from_log(encoded: &str) -> Result<Self, String> {
        let plain = plain(encoded)?;
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut plain.as_slice()).map_err(|error| error.to_string())?;
        Ok(Self::from(&histogram))
    }

    /// Says what is wrong with a histogram of an interval log, without reading its values.
    pub(super) fn check(encoded: &str) -> Result<(), String> {
        plain(encoded).map(drop)
    }
}

/// Samples that are being added up.
#[derive(Debug)]
pub struct Sum(Option<Histogram<u64>>);

impl Default for Sum {
    fn default() -> Self {
        // By bucket of the finest histogram that a log may hold: the highest value of a coarser bucket is the highest
        // of one of these. Its bounds are constants that a histogram can have.
        Self(Histogram::new_with_bounds(1, VALUE_MAX_US, SIGNIFICANT_DIGITS).ok())
    }
}

impl Sum {
    /// Adds the values of `samples`.
    pub fn add(&mut self, samples: &Samples) {
        let Some(all) = &mut self.0 else { return };
        samples.iter().for_each(|(value, count)| all.saturating_record_n(value, count));
    }

    /// All of them.
    #[must_use]
    pub fn samples(&self) -> Samples {
        self.0.as_ref().map(Samples::from).unwrap_or_default()
    }
}

fn push_leb128(packed: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            packed.push(low);
            return;
        }
        packed.push(low | 0x80);
    }
}

/// The next number of what [`push_leb128`] wrote; 0 at the end.
fn leb128(rest: &mut &[u8]) -> u64 {
    let (mut number, mut place) = (0, 0);
    while let Some((byte, after)) = rest.split_first() {
        *rest = after;
        number |= u64::from(byte & 0x7f) << place;
        if byte & 0x80 == 0 {
            break;
        }
        place += 7;
    }
    number
}

fn word(bytes: &[u8], at: usize) -> Result<u32, String> {
    let four = bytes.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok());
    four.map(u32::from_be_bytes).ok_or_else(|| "a histogram is cut short".to_owned())
}

fn long(bytes: &[u8], at: usize) -> Result<u64, String> {
    Ok((u64::from(word(bytes, at)?) << 32) | u64::from(word(bytes, at + 4)?))
}

/// A histogram of an interval log in format V2, whose header and counts are within bounds.
fn plain(encoded: &str) -> Result<Vec<u8>, String> {
    let bytes = STANDARD.decode(encoded).map_err(|error| format!("not base64: {error}"))?;
    let plain = inflate(&bytes)?;
    check(&plain)?;
    Ok(plain)
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if word(bytes, 0)? != COOKIE_V2_DEFLATE {
        return Ok(bytes.to_vec());
    }
    let body = bytes.get(8..).unwrap_or_default();
    let mut plain = Vec::new();
    let mut inflater = flate2::read::ZlibDecoder::new(body).take(INFLATED_MAX + 1);
    inflater.read_to_end(&mut plain).map_err(|error| format!("a histogram cannot be inflated: {error}"))?;
    if plain.len() as u64 > INFLATED_MAX {
        return Err(format!("a histogram is larger than {INFLATED_MAX} bytes"));
    }
    Ok(plain)
}

/// Holds the header and the counts against their bounds, so that the decoder cannot be made to allocate or overflow.
fn check(plain: &[u8]) -> Result<(), String> {
    if word(plain, 0)? != COOKIE_V2 {
        return Err("a histogram is not in format V2".to_owned());
    }
    let payload = plain.get(HEADER_V2..).ok_or("a histogram is cut short")?;
    if word(plain, 4)? as usize != payload.len() {
        return Err("a histogram has another length than it says".to_owned());
    }
    let (digits, lowest, highest) = (word(plain, 12)?, long(plain, 16)?, long(plain, 24)?);
    if !(1..=3).contains(&digits) || lowest != 1 || !(2..=VALUE_MAX_US).contains(&highest) {
        return Err(format!("a histogram of {digits} digits from {lowest} to {highest} is none of a run's"));
    }
    let mut rest = payload;
    while !rest.is_empty() {
        let number = zig_zag(&mut rest);
        if !(-(1 << 20)..=COUNT_MAX).contains(&number) {
            return Err(format!("a histogram counts {number} of one value"));
        }
    }
    Ok(())
}

/// The next number of a payload: LEB128 of at most nine bytes, the last of them whole, zig-zag coded.
fn zig_zag(rest: &mut &[u8]) -> i64 {
    let mut coded = 0_u64;
    for place in 0..9_u32 {
        let Some((byte, after)) = rest.split_first() else { break };
        *rest = after;
        if place == 8 {
            coded |= u64::from(*byte) << 56;
            break;
        }
        coded |= u64::from(*byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    (coded >> 1).cast_signed() ^ -(coded & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::{Serializer, V2DeflateSerializer, V2Serializer};

    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = empty_histogram().unwrap();
        values.into_iter().for_each(|value| histogram.record(value).unwrap());
        histogram
    }

    fn encoded(histogram: &Histogram<u64>) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(histogram, &mut bytes).unwrap();
        STANDARD.encode(bytes)
    }

    #[test]
    fn samples_say_what_the_histogram_says_at_every_quantile() {
        let histogram = histogram((0..5_000_u64).map(|n| 1 + n * n * 11 % 299_999_999));
        let samples = Samples::from(&histogram);
        for quantile in [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(samples.value_at_quantile(quantile), histogram.value_at_quantile(quantile), "{quantile}");
        }
        assert_eq!((samples.len(), samples.max()), (histogram.len(), histogram.max()));
    }

    #[test]
    fn merging_samples_is_merging_histograms() {
        let (mut one, two) = (histogram([1, 70, 70_000]), histogram([70, 250_000_000]));
        let parts = [Samples::from(&one), Samples::from(&two)];
        let merged = Samples::merged(parts.iter());
        one.add(&two).unwrap();
        assert_eq!(merged, Samples::from(&one));
    }

    #[test]
    fn a_histogram_comes_out_of_the_log_as_it_went_in() {
        for histogram in [histogram([]), histogram([1, 2, 2, 1_000_000, 299_999_999]), histogram(1..50_000)] {
            assert_eq!(Samples::from_log(&encoded(&histogram)), Ok(Samples::from(&histogram)));
        }
    }

    #[test]
    fn a_histogram_that_claims_more_than_a_run_makes_is_refused_before_it_is_decoded() {
        let mut plain = Vec::new();
        V2Serializer::new().serialize(&histogram([5, 5_000]), &mut plain).unwrap();
        assert!(Samples::from_log(&STANDARD.encode(&plain)).is_ok());
        let with = |at: usize, bytes: &[u8]| {
            let mut changed = plain.clone();
            changed[at..at + bytes.len()].copy_from_slice(bytes);
            Samples::from_log(&STANDARD.encode(changed))
        };
        assert!(with(4, &u32::MAX.to_be_bytes()).unwrap_err().contains("another length"));
        assert!(with(12, &5_u32.to_be_bytes()).unwrap_err().contains("5 digits"));
        assert!(with(24, &u64::MAX.to_be_bytes()).unwrap_err().contains("none of a run's"));
        let mut overflowing = plain[..HEADER_V2].to_vec();
        overflowing[4..8].copy_from_slice(&9_u32.to_be_bytes());
        overflowing.extend([0xff; 9]);
        assert!(Samples::from_log(&STANDARD.encode(overflowing)).unwrap_err().contains("of one value"));
        for text in ["", "AAAA", "!!", "HISTFAAAAAA="] {
            assert!(Samples::from_log(text).is_err(), "{text}");
        }
    }
}
