//! The connections of one endpoint by slot, and what the limits count.

use crate::connection::{Connection, Phase};
use crate::gate;
use crate::ids::{SlotPool, YoungKey};
use std::collections::HashMap;
use std::net::SocketAddr;

#[derive(Default)]
pub struct Population {
    slots: Vec<Option<Box<Connection>>>,
    young: HashMap<YoungKey, u32>,
    addresses: HashMap<[u8; 8], usize>,
    live: usize,
    handshaking: usize,
    open: usize,
}

impl Population {
    pub fn get(&self, slot: u32, generation: u32) -> Option<&Connection> {
        self.slots.get(slot as usize)?.as_deref().filter(|c| c.generation == generation)
    }

    pub fn at(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// A connection whose handshake has begun. Its slot is free.
    pub fn insert(&mut self, c: Box<Connection>) {
        let slot = c.slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if let Some(key) = &c.young {
            self.young.insert(key.clone(), c.slot);
        }
        *self.addresses.entry(c.limit_key).or_insert(0) += 1;
        self.live += 1;
        self.handshaking += 1;
        self.slots[slot] = Some(c);
    }

    /// Its handshake is done. The client's first id means nothing from now on.
    pub fn established(&mut self, slot: u32) {
        self.handshaking -= 1;
        self.open += 1;
        self.grown_up(slot);
    }

    pub fn failed(&mut self, slot: u32) {
        self.handshaking -= 1;
        self.grown_up(slot);
    }

    pub fn ended(&mut self) {
        self.open -= 1;
    }

    fn grown_up(&mut self, slot: u32) {
        if let Some(key) = self.at(slot).and_then(|c| c.young.take())
            && self.young.get(&key) == Some(&slot)
        {
            self.young.remove(&key);
        }
    }

    pub fn remove(&mut self, slot: u32, pool: &mut SlotPool) -> Option<Box<Connection>> {
        let c = self.slots.get_mut(slot as usize)?.take()?;
        self.live -= 1;
        if let Some(n) = self.addresses.get_mut(&c.limit_key) {
            *n -= 1;
            if *n == 0 {
                self.addresses.remove(&c.limit_key);
            }
        }
        pool.give(slot);
        Some(c)
    }

    pub fn open(&self) -> usize {
        self.open
    }

    pub fn all(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slots.iter_mut().filter_map(|c| c.as_deref_mut())
    }

    pub fn handshakers(&mut self) -> Vec<u32> {
        self.all().filter(|c| c.phase == Phase::Handshaking).map(|c| c.slot).collect()
    }
}

impl gate::Population for Population {
    fn alive(&self, slot: u32, generation: u32) -> bool {
        self.get(slot, generation).is_some()
    }

    fn young(&self, from: SocketAddr, dcid: &[u8]) -> Option<u32> {
        if self.young.is_empty() {
            return None;
        }
        self.young.get(&YoungKey(from, dcid.to_vec())).copied()
    }

    fn live(&self) -> usize {
        self.live
    }

    fn handshaking(&self) -> usize {
        self.handshaking
    }

    fn of_address(&self, key: &[u8; 8]) -> usize {
        self.addresses.get(key).copied().unwrap_or(0)
    }
}
