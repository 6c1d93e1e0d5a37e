//! Numbers, sizes and durations as Hadoop writes them.

use std::time::Duration;

/// A whole number, decimal or hexadecimal (`0x…`).
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A number of bytes, with a unit (a power of 1024: `k`, `m`, `g`, `t`, `p`, `e`) or without.
pub(super) fn size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let shift = match lower.as_bytes().last()? {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        b'p' => 50,
        b'e' => 60,
        _ => return number(text),
    };
    let digits = &lower[..lower.len() - 1];
    number(digits.trim_end())?.checked_mul(1 << shift)
}

/// A duration with a unit (`ns`, `us`, `ms`, `s`, `m`, `h`, `d`), or a number of milliseconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (digits, unit) = lower.split_at(digits);
    let count: u64 = digits.parse().ok()?;
    let seconds = match unit.trim_start() {
        "ns" => return Some(Duration::from_nanos(count)),
        "us" => return Some(Duration::from_micros(count)),
        "" | "ms" => return Some(Duration::from_millis(count)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    count.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_hadoop_writes_them() {
        assert_eq!(
            (number("30000"), number("0x1F"), number("-1"), number("")),
            (Some(30_000), Some(31), None, None)
        );
        assert_eq!(
            (size("64m"), size("1 G"), size("128"), size("k")),
            (Some(64 << 20), Some(1 << 30), Some(128), None)
        );
        assert_eq!(size("99999999999999999e"), None);
        for (text, millis) in
            [("10s", 10_000), ("30000", 30_000), ("2m", 120_000), ("1 h", 3_600_000), ("5ms", 5)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "s", "-1", "1.5s", "10 weeks", "ß", "99999999999999999999", "18446744073709551615d"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
