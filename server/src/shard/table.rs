//! What a shard knows by slot: of sockets, and of virtual connections beside them.
//!
//! A slot below [`VIRTUAL`] is a socket's, given out by the reactor. One with that bit is a SockJS
//! session's: a connection without a socket of its own, which all of the STOMP path treats like any
//! other. Two arrays under one index, so that neither has holes as large as the other.

use std::ops::{Index, IndexMut};

/// This bit of a slot says that it is no socket's. The reactor's tables are far smaller.
pub const VIRTUAL: u32 = 1 << 31;

const BIT: usize = VIRTUAL as usize;

/// Is it the slot of a virtual connection?
pub fn is_virtual(slot: u32) -> bool {
    slot & VIRTUAL != 0
}

/// Entries to have room for when there is none for the last of `count`: an eighth more. Twice as
/// many would make half of what an idle session costs a reserve.
pub fn room_for(count: usize) -> usize {
    count + (count / 8).max(16)
}

/// One `T` per slot.
#[derive(Debug)]
pub struct Table<T> {
    sockets: Vec<T>,
    virtuals: Vec<T>,
}

impl<T> Table<T> {
    /// Without any slot. There is room for `sockets_count` sockets: pages that nobody touches cost
    /// nothing, and growing never copies.
    pub fn new(sockets_count: usize) -> Table<T> {
        Table { sockets: Vec::with_capacity(sockets_count), virtuals: Vec::new() }
    }

    /// Makes sure that there is an entry for `slot`.
    pub fn grow(&mut self, slot: u32, empty: impl FnMut() -> T) {
        let index = (slot & !VIRTUAL) as usize;
        let entries = if is_virtual(slot) { &mut self.virtuals } else { &mut self.sockets };
        if entries.len() <= index {
            if entries.capacity() <= index {
                entries.reserve_exact(room_for(index + 1) - entries.len());
            }
            entries.resize_with(index + 1, empty);
        }
    }

    /// The entry of a slot, if there is one.
    pub fn get(&self, slot: usize) -> Option<&T> {
        match slot & BIT {
            0 => self.sockets.get(slot),
            _ => self.virtuals.get(slot & !BIT),
        }
    }

    /// The entry of a slot, if there is one.
    pub fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        match slot & BIT {
            0 => self.sockets.get_mut(slot),
            _ => self.virtuals.get_mut(slot & !BIT),
        }
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.sockets.iter().chain(&self.virtuals)
    }

    /// The next slot from `slot` on, virtual ones behind those of sockets.
    pub fn slot_from(&self, slot: u32) -> Option<u32> {
        let (sockets, virtuals) = (self.sockets.len() as u32, self.virtuals.len() as u32);
        let slot = if slot < VIRTUAL && slot >= sockets { VIRTUAL } else { slot };
        (slot < VIRTUAL || slot - VIRTUAL < virtuals).then_some(slot)
    }
}

impl<T> Index<usize> for Table<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, slot: usize) -> &T {
        match slot & BIT {
            0 => &self.sockets[slot],
            _ => &self.virtuals[slot & !BIT],
        }
    }
}

impl<T> IndexMut<usize> for Table<T> {
    #[inline(always)]
    fn index_mut(&mut self, slot: usize) -> &mut T {
        match slot & BIT {
            0 => &mut self.sockets[slot],
            _ => &mut self.virtuals[slot & !BIT],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_slots_come_behind_the_sockets() {
        let mut table = Table::new(8);
        assert_eq!(table.slot_from(0), None);
        table.grow(1, || 'f');
        table.grow(VIRTUAL | 1, || 'v');
        table[VIRTUAL as usize] = 'w';
        table[0] = 's';
        let mut slots = Vec::new();
        let mut next = 0;
        while let Some(slot) = table.slot_from(next) {
            slots.push((slot, table[slot as usize]));
            next = slot + 1;
        }
        assert_eq!(slots, [(0, 's'), (1, 'f'), (VIRTUAL, 'w'), (VIRTUAL | 1, 'v')]);
        assert_eq!(table.get_mut(VIRTUAL as usize | 2), None);
        assert_eq!(table.iter().collect::<String>(), "sfwv");
    }
}
