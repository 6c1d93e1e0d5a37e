//! The readers of an exchange by demand: who has room for a split, and where each runs.
//!
//! An enumerator looks here before it makes a split, since which one is best may depend on who gets it. It then names the reader, and the
//! output sends the next batch there. Both are of one subtask, so nothing comes between.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::channel::ChannelSender;

/// No reader was named.
const NOBODY: usize = usize::MAX;

/// A reader, as an enumerator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderInfo<'a> {
    /// Its subtask's index.
    pub index: u32,
    /// The host it runs on, as its TaskManager is called; none: not known.
    pub host: Option<&'a str>,
}

/// The readers of an exchange, in the order of their channels.
#[derive(Default)]
pub struct Readers {
    hosts: Vec<Option<Arc<str>>>,
    /// None of them if nothing is sent: readers without channels have room always.
    channels: Vec<Arc<dyn ChannelSender>>,
    /// Who is asked first, so that all get their turn.
    next: AtomicUsize,
    /// Whom the next batch is for.
    chosen: AtomicUsize,
}

impl Readers {
    /// Those behind these channels. Hosts that are missing are not known.
    pub fn new(channels: Vec<Arc<dyn ChannelSender>>, mut hosts: Vec<Option<Arc<str>>>) -> Self {
        hosts.resize(channels.len(), None);
        Self { hosts, channels, next: AtomicUsize::new(0), chosen: AtomicUsize::new(NOBODY) }
    }

    /// Readers that always have room, for operators that are driven by hand.
    pub fn detached(hosts: Vec<Option<Arc<str>>>) -> Self {
        Self { hosts, ..Self::new(Vec::new(), Vec::new()) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = ReaderInfo<'_>> {
        (0..self.len()).map(|index| self.reader(index))
    }

    fn reader(&self, index: usize) -> ReaderInfo<'_> {
        ReaderInfo { index: index as u32, host: self.hosts.get(index).and_then(Option::as_deref) }
    }

    /// Those that have room, beginning with whose turn it is.
    pub fn with_room(&self) -> impl Iterator<Item = ReaderInfo<'_>> {
        let (first, all) = (self.next.load(Ordering::Relaxed), self.len());
        let in_turn = (0..all).map(move |offset| (first + offset) % all);
        in_turn.filter(|index| self.has_room(*index)).map(|index| self.reader(index))
    }

    fn has_room(&self, index: usize) -> bool {
        self.channels.get(index).is_none_or(|channel| channel.has_room())
    }

    /// The next batch is for this one.
    pub fn choose(&self, reader: u32) {
        self.chosen.store(reader as usize, Ordering::Relaxed);
    }

    /// Whom a batch goes to now: the one that was chosen, else the next that has room.
    pub(super) fn take_chosen(&self) -> usize {
        let chosen = match self.chosen.swap(NOBODY, Ordering::Relaxed) {
            chosen if chosen < self.len() => chosen,
            _ => self.with_room().next().map_or(0, |reader| reader.index as usize),
        };
        self.next.store((chosen + 1) % self.len().max(1), Ordering::Relaxed);
        chosen
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::Element;
    use crate::exchange::channel::Channel;

    #[test]
    fn readers_get_their_turn_unless_one_is_chosen_or_has_no_room() {
        let channels: Vec<Arc<Channel>> = (0..3).map(|_| Arc::new(Channel::new(1))).collect();
        let senders = channels.iter().map(|channel| Arc::clone(channel) as Arc<dyn ChannelSender>).collect();
        let readers = Readers::new(senders, vec![None, Some("b".into())]);
        let with_room = || readers.with_room().map(|reader| reader.index).collect::<Vec<_>>();
        let hosts: Vec<_> = readers.iter().map(|reader| reader.host).collect();
        assert_eq!((with_room(), hosts), (vec![0, 1, 2], vec![None, Some("b"), None]));
        assert_eq!((readers.take_chosen(), with_room()), (0, vec![1, 2, 0]));
        readers.choose(2);
        assert_eq!((readers.take_chosen(), with_room()), (2, vec![0, 1, 2]));
        channels[0].send(Element::Encoded(vec![7; 9].into()));
        assert_eq!(with_room(), [1, 2]);
        assert_eq!((readers.take_chosen(), with_room()), (1, vec![2, 1]));
        channels[0].release(9);
        assert_eq!(with_room(), [2, 0, 1]);
        // Nobody has such an index.
        readers.choose(3);
        assert_eq!(readers.take_chosen(), 2);
    }

    #[test]
    fn no_readers_and_readers_without_channels_are_no_trouble() {
        let nobody = Readers::default();
        assert!(nobody.is_empty() && nobody.with_room().next().is_none());
        assert_eq!(nobody.take_chosen(), 0);
        assert_eq!(Readers::detached(vec![None; 4]).with_room().count(), 4);
    }
}
