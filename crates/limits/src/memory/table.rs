//! Counters by id, in shards, bounded in number.
//!
//! A shard is a slab of slots and an index over it behind one lock. A check locks all shards it needs, in their order, and
//! then looks and changes at leisure: no other check sees half of it, and nothing has to be taken back. Room for a new
//! counter is found by a hand that goes round the slab: slots whose window has ended are taken first. A turn without any
//! is remembered until the first of them can have ended, so that it is made once a window and not once a counter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::limit::{MAX_LIMITS, Time, Window};
use crate::metrics::Figures;

/// Slots of a shard, about: a whole turn of the hand takes a few microseconds.
const SHARD: usize = 2048;
/// Shards that a table has even if it is small, so that threads rarely meet.
const FEW: usize = 16;
/// Fewest slots of a shard: more than a check has limits, so that it never has to evict its own.
const SMALLEST: usize = 2 * MAX_LIMITS;
/// Slots that the hand looks at before the slab grows.
const GLANCE: usize = 4;
/// Slots among which the least used is evicted.
const SAMPLE: usize = 16;

/// What happens to a new caller when all counters are in use by windows that have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The least used of some counters makes room; its caller starts anew.
    #[default]
    Evict,
    /// The new caller is refused.
    Refuse,
}

/// A counter's id: a keyed hash of 128 bits, which nobody can find two equal keys for without the seed. A chance
/// collision among a million counters has a probability of 2^-89, and the slot stays small whatever the key's length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub(crate) u64, pub(crate) u64);

/// What a slot holds.
pub(crate) trait Value: Copy + Default {
    /// The moment from which it counts for nothing.
    fn until(&self) -> Time;
    /// How much is forgotten when it is evicted.
    fn weight(&self) -> u64;
}

/// All shards.
pub(crate) struct Table<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    seed: [AtomicU64; 2],
    when_full: WhenFull,
    figures: Figures,
}

/// One shard. Places of slots never change while they are in use.
pub(crate) struct Shard<V> {
    index: HashTable<u32>,
    slots: Vec<Slot<V>>,
    capacity: usize,
    hand: usize,
    /// No slot ends before this moment.
    quiet_until: Time,
}

#[derive(Clone, Copy)]
struct Slot<V> {
    id: Id,
    value: V,
}

/// No room for another counter.
#[derive(Debug)]
pub(crate) struct Full;

impl<V: Value> Table<V> {
    /// Room for about `capacity` values: shards fill unevenly, so the first may be evicted a few percent earlier.
    pub(crate) fn new(capacity: usize, when_full: WhenFull, seed: [u8; 16], figures: Figures) -> Self {
        let shards = (capacity / SHARD)
            .max((capacity / SMALLEST).min(FEW))
            .max(1)
            .next_power_of_two()
            .min(1 << 16);
        let each = (capacity / shards).clamp(SMALLEST, u32::MAX as usize);
        let shard = || {
            Mutex::new(Shard {
                index: HashTable::new(),
                slots: Vec::new(),
                capacity: each,
                hand: 0,
                quiet_until: Time(0),
            })
        };
        let table = Self {
            shards: (0..shards).map(|_| shard()).collect(),
            seed: [AtomicU64::new(0), AtomicU64::new(0)],
            when_full,
            figures,
        };
        table.reseed(seed);
        table
    }

    /// The key of the hashes.
    pub(crate) fn seed(&self) -> [u8; 16] {
        let [low, high] = &self.seed;
        let seed = u128::from(low.load(Ordering::Relaxed)) | u128::from(high.load(Ordering::Relaxed)) << 64;
        seed.to_le_bytes()
    }

    /// Another key; ids made with the old one are lost.
    pub(crate) fn reseed(&self, seed: [u8; 16]) {
        let [a, b, c, d, e, f, g, h, rest @ ..] = seed;
        let [low, high] = &self.seed;
        low.store(u64::from_le_bytes([a, b, c, d, e, f, g, h]), Ordering::Relaxed);
        high.store(u64::from_le_bytes(rest), Ordering::Relaxed);
    }

    /// The id of the counter of a key and a window.
    pub(crate) fn id(&self, key: &[u8], window: Window) -> Id {
        let [low, high] = &self.seed;
        let mut hasher =
            SipHasher13::new_with_keys(low.load(Ordering::Relaxed), high.load(Ordering::Relaxed));
        std::hash::Hasher::write(&mut hasher, key);
        std::hash::Hasher::write(&mut hasher, &window.as_millis().to_le_bytes());
        let hash = hasher.finish128();
        Id(hash.h1, hash.h2)
    }

    fn shard(&self, id: Id) -> usize {
        // A power of two of them, at most 2^16.
        usize::try_from(id.1 & 0xffff).unwrap_or(0) & (self.shards.len() - 1)
    }

    /// Locks what holds `ids`, at most [`MAX_LIMITS`], in the order of the shards.
    pub(crate) fn lock(&self, ids: &[Id]) -> Locked<'_, V> {
        let mut shards = [0; MAX_LIMITS];
        let mut order = [0; MAX_LIMITS];
        for (index, id) in ids.iter().enumerate().take(MAX_LIMITS) {
            let shard = self.shard(*id);
            shards[index] = shard;
            order[index] = shard;
        }
        let order = &mut order[..ids.len().min(MAX_LIMITS)];
        order.sort_unstable();
        let mut guards = [const { None }; MAX_LIMITS];
        let mut last = None;
        for (guard, shard) in guards.iter_mut().zip(order.iter()) {
            if last != Some(*shard) {
                *guard = Some(self.lock_shard(*shard));
            }
            last = Some(*shard);
        }
        let mut places = [0; MAX_LIMITS];
        for (place, shard) in places.iter_mut().zip(shards).take(ids.len()) {
            *place = order.iter().position(|other| *other == shard).unwrap_or(0);
        }
        Locked {
            guards,
            places,
            when_full: self.when_full,
            figures: &self.figures,
        }
    }

    fn lock_shard(&self, shard: usize) -> MutexGuard<'_, Shard<V>> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes through all slots, one shard at a time.
    pub(crate) fn each(&self, mut visit: impl FnMut(Id, &V)) {
        for shard in 0..self.shards.len() {
            let shard = self.lock_shard(shard);
            for slot in &shard.slots {
                visit(slot.id, &slot.value);
            }
        }
    }
}

/// The shards that one check needs. `which` is the place of an id in what was locked.
pub(crate) struct Locked<'a, V> {
    guards: [Option<MutexGuard<'a, Shard<V>>>; MAX_LIMITS],
    places: [usize; MAX_LIMITS],
    when_full: WhenFull,
    figures: &'a Figures,
}

/// Where a value is, for as long as its shard is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    guard: usize,
    slot: usize,
}

impl<V: Value> Locked<'_, V> {
    fn shard(&mut self, guard: usize) -> &mut Shard<V> {
        self.guards[guard]
            .as_mut()
            .expect("one for every place that was given out")
    }

    /// As if a full table refused.
    pub(crate) fn without_evicting(mut self) -> Self {
        self.when_full = WhenFull::Refuse;
        self
    }

    pub(crate) fn find(&self, which: usize, id: Id) -> Option<Place> {
        let guard = self.places[which];
        let shard = self.guards[guard].as_ref()?;
        let slot = shard.find(id)?;
        Some(Place { guard, slot })
    }

    pub(crate) fn value(&self, place: Place) -> V {
        let shard = self.guards[place.guard].as_ref();
        shard
            .map(|shard| shard.slots[place.slot].value)
            .unwrap_or_default()
    }

    pub(crate) fn set(&mut self, place: Place, value: V) {
        let shard = self.shard(place.guard);
        shard.quiet_until = shard.quiet_until.min(value.until());
        shard.slots[place.slot].value = value;
    }

    /// A slot for an id that has none, at the default value, and none of those in `keep`.
    pub(crate) fn make(
        &mut self,
        which: usize,
        id: Id,
        now: Time,
        keep: &[Option<Place>],
    ) -> Result<Place, Full> {
        let guard = self.places[which];
        let when_full = self.when_full;
        let kept = |slot| keep.contains(&Some(Place { guard, slot }));
        let shard = self.shard(guard);
        let (slot, room) = shard
            .room(now, when_full, kept)
            .ok_or(Full)
            .inspect_err(|_| self.figures.full())?;
        let shard = self.shard(guard);
        shard.put(slot, id);
        match room {
            Room::Evicted => self.figures.evicted(),
            Room::New => self.figures.held(1),
            Room::Ended => {}
        }
        Ok(Place { guard, slot })
    }
}

/// How room was found.
#[derive(Debug)]
enum Room {
    Ended,
    Evicted,
    New,
}

impl<V: Value> Shard<V> {
    fn find(&self, id: Id) -> Option<usize> {
        let found = self
            .index
            .find(id.0, |slot| self.slots[*slot as usize].id == id)?;
        Some(*found as usize)
    }

    fn room(
        &mut self,
        now: Time,
        when_full: WhenFull,
        kept: impl Fn(usize) -> bool,
    ) -> Option<(usize, Room)> {
        let free = |slot: &Slot<V>| slot.value.until() <= now;
        let full = self.slots.len() >= self.capacity;
        let look = match (full, now >= self.quiet_until) {
            (_, false) => 0,
            (false, true) => GLANCE.min(self.slots.len()),
            (true, true) => self.slots.len(),
        };
        let mut earliest = Time(u64::MAX);
        for _ in 0..look {
            let slot = self.turn();
            if free(&self.slots[slot]) && !kept(slot) {
                return Some((slot, Room::Ended));
            }
            earliest = earliest.min(self.slots[slot].value.until());
        }
        if !full {
            return Some((self.grow(), Room::New));
        }
        if look > 0 {
            self.quiet_until = earliest;
        }
        match when_full {
            WhenFull::Evict => self.least_used(kept).map(|slot| (slot, Room::Evicted)),
            WhenFull::Refuse => None,
        }
    }

    /// The next slot of the hand.
    fn turn(&mut self) -> usize {
        let slot = if self.hand < self.slots.len() {
            self.hand
        } else {
            0
        };
        self.hand = slot + 1;
        slot
    }

    fn least_used(&mut self, kept: impl Fn(usize) -> bool) -> Option<usize> {
        let mut least = None;
        // Those that are kept may all stand in a row.
        for _ in 0..SAMPLE + MAX_LIMITS {
            let slot = self.turn();
            let weight = self.slots[slot].value.weight();
            if least.is_none_or(|(_, lowest)| weight < lowest) && !kept(slot) {
                least = Some((slot, weight));
            }
        }
        least.map(|(slot, _)| slot)
    }

    fn grow(&mut self) -> usize {
        let slot = self.slots.len();
        if slot == self.slots.capacity() {
            let more = slot.max(8).min(self.capacity - slot);
            self.slots.reserve_exact(more);
        }
        let (id, value) = (Id::default(), V::default());
        self.slots.push(Slot { id, value });
        slot
    }

    /// Gives a slot to another id.
    fn put(&mut self, slot: usize, id: Id) {
        let old = self.slots[slot].id;
        let same = |other: &u32| *other as usize == slot;
        if let Ok(entry) = self.index.find_entry(old.0, same) {
            entry.remove();
        }
        let value = V::default();
        self.slots[slot] = Slot { id, value };
        let slots = &self.slots;
        let number = u32::try_from(slot).expect("a shard has fewer slots");
        self.index
            .insert_unique(id.0, number, |slot| slots[*slot as usize].id.0);
    }
}
