//! Sizes of memory, in Flink's syntax: `64 kb`, `512m`, `2 gb`; units are powers of 1024, a number alone is bytes.

use std::fmt;

use super::value::{ConfigValue, number_and_unit};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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

    fn write(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_flink_writes_them() {
        for (text, bytes) in
            [("1g", 1 << 30), ("64 kb", 65_536), ("3 MB", 3 << 20), ("17", 17), ("0 bytes", 0)]
        {
            assert_eq!(MemorySize::read(text), Ok(MemorySize::of_bytes(bytes)), "{text}");
        }
        for bad in ["", "gb", "1 xb", "-1", "1.5 gb", "99999999999 tb"] {
            assert!(MemorySize::read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes in any::<u64>(), shift in 0_u32..64) {
            for size in [MemorySize(bytes), MemorySize(bytes >> shift << shift)] {
                prop_assert_eq!(MemorySize::read(&size.write()), Ok(size));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = MemorySize::read(&text);
        }
    }
}
