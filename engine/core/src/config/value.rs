//! The types that values of options have, and how they are read and written: what is written is read as the same value.

use std::path::PathBuf;
use std::time::Duration;

/// A type that values of options can have.
pub trait ConfigValue: Sized {
    /// What a value looks like, for documentation and errors.
    const KIND: &'static str;

    /// Reads a value.
    ///
    /// # Errors
    /// What is expected instead.
    fn read(text: &str) -> Result<Self, String>;

    /// Writes it so that [`read`](Self::read) reads it.
    fn write(&self) -> String;
}

macro_rules! parsed_values {
    ($($type:ty: $kind:literal;)*) => {$(
        impl ConfigValue for $type {
            const KIND: &'static str = $kind;

            fn read(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| format!("{} is expected", Self::KIND))
            }

            fn write(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

parsed_values! {
    bool: "true or false";
    u16: "a port";
    u32: "a whole number";
    i32: "a whole number";
}

impl ConfigValue for f64 {
    const KIND: &'static str = "a number";

    fn read(text: &str) -> Result<Self, String> {
        let value = text.trim().parse().ok().filter(|value: &Self| value.is_finite());
        value.ok_or_else(|| format!("{} is expected", Self::KIND))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl ConfigValue for String {
    const KIND: &'static str = "text";

    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() { Err(format!("{} is expected", Self::KIND)) } else { Ok(text.to_owned()) }
    }

    fn write(&self) -> String {
        self.clone()
    }
}

impl ConfigValue for PathBuf {
    const KIND: &'static str = "a path";

    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() { Err(format!("{} is expected", Self::KIND)) } else { Ok(text.into()) }
    }

    fn write(&self) -> String {
        self.display().to_string()
    }
}

impl ConfigValue for Vec<PathBuf> {
    const KIND: &'static str = "paths with ':', ';', ',' or '|' between";

    fn read(text: &str) -> Result<Self, String> {
        let parts = text.split([':', ';', ',', '|']).map(str::trim).filter(|part| !part.is_empty());
        let paths: Self = parts.map(PathBuf::from).collect();
        if paths.is_empty() { Err(format!("{} is expected", Self::KIND)) } else { Ok(paths) }
    }

    fn write(&self) -> String {
        self.iter().map(ConfigValue::write).collect::<Vec<_>>().join(";")
    }
}

/// A number and, in lower case, what follows it.
pub(super) fn number_and_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim().to_lowercase()))
}

/// The units times are written in, largest first, in nanoseconds.
const UNITS: [(u64, &str); 7] = [
    (86_400_000_000_000, "d"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "min"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
];

/// Reads a time as Flink writes it: `10 ms`, `1 min`, `2h`; a number alone is milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let unit = match unit.as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => "ns",
        // The micro sign and the Greek letter look the same.
        "us" | "\u{b5}s" | "\u{3bc}s" | "micro" | "micros" | "microsecond" | "microseconds" => "us",
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "min",
        "h" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    };
    let (nanos, _) = UNITS.iter().find(|(_, name)| *name == unit)?;
    number.checked_mul(*nanos).map(Duration::from_nanos)
}

/// Writes a time in its largest unit, so that [`parse_duration`] reads it (times of less than 584 years; it reads no longer ones).
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0 ms".to_owned();
    }
    let whole = UNITS.iter().find(|(unit, _)| nanos.is_multiple_of(u128::from(*unit)));
    let (unit, name) = whole.unwrap_or(&(1, "ns"));
    format!("{} {name}", nanos / u128::from(*unit))
}

impl ConfigValue for Duration {
    const KIND: &'static str = "a time such as '10 ms', '1 min' or '2 h'";

    fn read(text: &str) -> Result<Self, String> {
        parse_duration(text).ok_or_else(|| format!("{} is expected", Self::KIND))
    }

    fn write(&self) -> String {
        format_duration(*self)
    }
}

impl ConfigValue for Option<Duration> {
    const KIND: &'static str = "a time such as '10 ms', '1 min' or '2 h', or -1 for none";

    fn read(text: &str) -> Result<Self, String> {
        let read = if text.trim() == "-1" { Some(None) } else { parse_duration(text).map(Some) };
        read.ok_or_else(|| format!("{} is expected", Self::KIND))
    }

    fn write(&self) -> String {
        self.map_or_else(|| "-1".to_owned(), format_duration)
    }
}

/// A time of which a number alone means seconds, where Flink has it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub Duration);

impl ConfigValue for Seconds {
    const KIND: &'static str = "a time such as '10 ms', '1 min' or '2 h', or seconds";

    fn read(text: &str) -> Result<Self, String> {
        let read = match text.trim().parse() {
            // No later than a number of milliseconds can say.
            Ok(seconds) => u64::checked_mul(seconds, 1000).map(Duration::from_millis),
            Err(_) => parse_duration(text),
        };
        read.map(Self).ok_or_else(|| format!("{} is expected", Self::KIND))
    }

    fn write(&self) -> String {
        format_duration(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_flink_writes_them() {
        for (text, expected) in [
            ("10 ms", Duration::from_millis(10)),
            ("1min", Duration::from_secs(60)),
            (" 2 Hours ", Duration::from_secs(7200)),
            ("250", Duration::from_millis(250)),
            ("3 µs", Duration::from_micros(3)),
            ("0", Duration::ZERO),
        ] {
            assert_eq!(Duration::read(text), Ok(expected), "{text}");
        }
        for bad in
            ["", "ms", "1 fortnight", "-1 s", "1.5 s", "99999999999999999999 s", "18446744073709551615 d"]
        {
            assert!(Duration::read(bad).is_err(), "{bad}");
        }
        assert_eq!((Option::<Duration>::read(" -1 "), None::<Duration>.write()), (Ok(None), "-1".to_owned()));
        assert!(Option::<Duration>::read("-2").is_err());
        for (text, expected) in [("5", 5000), (" 1 ", 1000), ("200 ms", 200), ("1 min", 60_000)] {
            assert_eq!(Seconds::read(text), Ok(Seconds(Duration::from_millis(expected))), "{text}");
        }
        assert!(Seconds::read("-1").is_err() && Seconds::read("99999999999999999999").is_err());
        assert_eq!(format_duration(Duration::from_secs(600)), "10 min");
        assert_eq!(format_duration(Duration::ZERO), "0 ms");
    }

    #[test]
    fn empty_texts_and_numbers_that_are_none_are_refused() {
        assert!(
            String::read(" ").is_err() && PathBuf::read("").is_err() && Vec::<PathBuf>::read(";:").is_err()
        );
        assert!(f64::read("NaN").is_err() && f64::read("inf").is_err() && u16::read("65536").is_err());
    }

    #[test]
    fn paths_are_parted_by_any_of_the_usual_signs() {
        let paths = Vec::<PathBuf>::read("/a:/b ; /c,/d|").unwrap();
        assert_eq!(paths, ["/a", "/b", "/c", "/d"].map(PathBuf::from));
        assert_eq!(Vec::<PathBuf>::read(&paths.write()), Ok(paths));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(nanos in any::<u64>(), number in any::<f64>(), text in "[a-z/.]{1,9}") {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(Duration::read(&duration.write()), Ok(duration));
            prop_assert_eq!(Option::read(&Some(duration).write()), Ok(Some(duration)));
            prop_assert_eq!(Seconds::read(&duration.write()), Ok(Seconds(duration)));
            prop_assume!(number.is_finite());
            prop_assert_eq!(f64::read(&number.write()), Ok(number));
            prop_assert_eq!(PathBuf::read(&PathBuf::from(&text).write()), Ok(PathBuf::from(text)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = (Duration::read(&text), f64::read(&text), Vec::<PathBuf>::read(&text));
        }
    }
}
