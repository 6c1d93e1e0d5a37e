//! The types of configuration values and how they are written.

use std::fmt;
use std::time::Duration;

/// A type that configuration values can have.
pub trait ConfigValue: Sized {
    /// What a value looks like, for documentation and errors.
    const KIND: &'static str;

    /// Reads a value.
    ///
    /// # Errors
    /// What is expected instead.
    fn read(text: &str) -> Result<Self, String>;

    /// A value for options without default, which are asked for by `get_optional` only.
    fn fallback() -> Self;
}

fn parsed<T: std::str::FromStr>(text: &str, kind: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{kind} is expected"))
}

macro_rules! parsed_values {
    ($($type:ty: $kind:literal, $fallback:expr;)*) => {$(
        impl ConfigValue for $type {
            const KIND: &'static str = $kind;

            fn read(text: &str) -> Result<Self, String> {
                parsed(text, Self::KIND)
            }

            fn fallback() -> Self {
                $fallback
            }
        }
    )*};
}

parsed_values! {
    bool: "true or false", false;
    u16: "a port", 0;
    u32: "a whole number", 0;
    String: "text", String::new();
}

impl ConfigValue for f64 {
    const KIND: &'static str = "a number from 0";

    fn read(text: &str) -> Result<Self, String> {
        let value: Self = parsed(text, Self::KIND)?;
        if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(format!("{} is expected", Self::KIND)) }
    }

    fn fallback() -> Self {
        0.0
    }
}

/// A number and what follows it.
fn number_and_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

/// Reads a time as Flink writes it: `10 ms`, `1 min`, `2h`; a number alone is milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let nanos_of_unit: u64 = match unit.as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    number.checked_mul(nanos_of_unit).map(Duration::from_nanos)
}

/// Writes a time so that [`parse_duration`] reads it.
pub fn format_duration(duration: Duration) -> String {
    match duration.as_nanos() {
        nanos if nanos % 1_000_000_000 == 0 => format!("{} s", nanos / 1_000_000_000),
        nanos if nanos % 1_000_000 == 0 => format!("{} ms", nanos / 1_000_000),
        nanos => format!("{nanos} ns"),
    }
}

impl ConfigValue for Duration {
    const KIND: &'static str = "a time such as '10 ms', '1 min' or '2 h'";

    fn read(text: &str) -> Result<Self, String> {
        parse_duration(text).ok_or_else(|| format!("{} is expected", Self::KIND))
    }

    fn fallback() -> Self {
        Self::ZERO
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MemorySize(u64);

impl MemorySize {
    /// So many bytes.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 40, "tb"), (1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
        match units.iter().find(|(size, _)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((size, unit)) => write!(f, "{} {unit}", self.0 / size),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl ConfigValue for MemorySize {
    const KIND: &'static str = "a size such as '64 kb', '512m' or '2 gb'";

    fn read(text: &str) -> Result<Self, String> {
        let read = || {
            let (number, unit) = number_and_unit(text)?;
            let shift = match unit.as_str() {
                "" | "b" | "byte" | "bytes" => 0,
                "k" | "kb" | "kib" | "kibibytes" => 10,
                "m" | "mb" | "mib" | "mebibytes" => 20,
                "g" | "gb" | "gib" | "gibibytes" => 30,
                "t" | "tb" | "tib" | "tebibytes" => 40,
                _ => return None,
            };
            number.checked_mul(1 << shift).map(Self)
        };
        read().ok_or_else(|| format!("{} is expected", Self::KIND))
    }

    fn fallback() -> Self {
        Self(0)
    }
}

/// Ports to try, in order; 0 alone: any free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange(Vec<(u16, u16)>);

impl PortRange {
    /// The ports.
    pub fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}-{last}")? }
        }
        Ok(())
    }
}

impl ConfigValue for PortRange {
    const KIND: &'static str = "ports such as '0', '6130' or '6130-6140,7000'";

    fn read(text: &str) -> Result<Self, String> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some((first, last))
        };
        let ranges: Option<Vec<(u16, u16)>> = text.split(',').map(range).collect();
        ranges.map(Self).ok_or_else(|| format!("{} is expected", Self::KIND))
    }

    fn fallback() -> Self {
        Self(vec![(0, 0)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_and_sizes_are_read_as_flink_writes_them() {
        assert_eq!(Duration::read("10 ms"), Ok(Duration::from_millis(10)));
        assert_eq!(Duration::read("1min"), Ok(Duration::from_secs(60)));
        assert_eq!(Duration::read("250"), Ok(Duration::from_millis(250)));
        assert_eq!(MemorySize::read("1g"), Ok(MemorySize(1 << 30)));
        assert_eq!(MemorySize::read("64 kb"), Ok(MemorySize(65_536)));
        for bad in ["", "ms", "1 fortnight", "-1 s", "99999999999999999999 s", "18446744073709551615 d"] {
            assert!(Duration::read(bad).is_err(), "{bad}");
        }
        for bad in ["", "gb", "1 xb", "99999999999 tb"] {
            assert!(MemorySize::read(bad).is_err(), "{bad}");
        }
        assert_eq!(PortRange::read("1-3,9").unwrap().ports().collect::<Vec<_>>(), [1, 2, 3, 9]);
        assert!(PortRange::read("3-1").is_err() && PortRange::read("70000").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0_u64..1 << 40, bytes in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
            let size = MemorySize(bytes);
            prop_assert_eq!(MemorySize::read(&size.to_string()), Ok(size));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = (Duration::read(&text), MemorySize::read(&text), PortRange::read(&text));
        }
    }
}
