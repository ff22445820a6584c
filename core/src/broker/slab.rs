//! A vector with holes: numbers for things that come and go, without an allocation each.
//!
//! An index stays valid until its value is removed; holes are filled first; an empty slab gives all
//! memory back. Whoever keeps an index longer than the value adds a generation of its own.

/// A vector with holes: indices stay, holes are filled first, an empty one gives its memory back.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    pub(super) slots: Vec<Option<T>>,
    holes: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Slab<T> {
        Slab { slots: Vec::new(), holes: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.holes.len()
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(index) = self.holes.pop() {
            self.slots[index as usize] = Some(value);
            return index;
        }
        self.slots.push(Some(value));
        (self.slots.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.slots[index as usize].take()?;
        self.holes.push(index);
        if self.len() == 0 {
            *self = Slab::new();
        }
        Some(value)
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(index, slot)| Some((index as u32, slot.as_ref()?)))
    }
}
