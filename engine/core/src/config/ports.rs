//! Ports to try, in order: `0` (any free one), `6130`, `6130-6140,7000`.

use std::fmt;

use super::value::ConfigValue;

/// Ports to try, in order; 0: any free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange(Vec<(u16, u16)>);

impl PortRange {
    /// Any free port.
    pub fn any() -> Self {
        Self(vec![(0, 0)])
    }

    /// This port, or any free one if it is 0.
    pub fn one(port: u16) -> Self {
        Self(vec![(port, port)])
    }

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
            let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            // 0 is no port of its own, so no range begins with it.
            let in_order = first <= last && (first > 0 || last == 0);
            in_order.then_some((first, last))
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.map(Self).ok_or_else(|| format!("{} is expected", Self::KIND))
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
    fn ports_come_in_the_order_they_are_written() {
        let ports = PortRange::read("11-13, 9").unwrap();
        assert_eq!(ports.ports().collect::<Vec<_>>(), [11, 12, 13, 9]);
        assert_eq!(PortRange::any().ports().collect::<Vec<_>>(), [0]);
        for bad in ["", "3-1", "0-3", "70000", "1,,2", "x", "1-2-3"] {
            assert!(PortRange::read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ranges in prop::collection::vec((1_u16.., 0_u16..9), 1..4)) {
            let ranges = ranges.into_iter().map(|(first, more)| (first, first.saturating_add(more))).collect();
            let ports = PortRange(ranges);
            prop_assert_eq!(PortRange::read(&ports.write()), Ok(ports));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9,x -]{0,20}") {
            let _ = PortRange::read(&text);
        }
    }
}
