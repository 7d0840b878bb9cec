//! Which chunks a pack that is being written has: an open hash table. Digests are evenly
//! distributed by themselves, so their first bytes are the hash.

use stackvm_machine::digest::Digest;

const FREE: u64 = u64::MAX;

/// Digests with a number each.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    /// A power of two of places, at most three quarters of them taken.
    places: Vec<(Digest, u64)>,
    len: usize,
}

impl Ids {
    /// The number of a digest.
    pub(crate) fn get(&self, id: &Digest) -> Option<u64> {
        if self.places.is_empty() {
            return None;
        }
        let (_, number) = self.places[self.place(id)];
        (number != FREE).then_some(number)
    }

    /// Adds a digest that is not there.
    pub(crate) fn insert(&mut self, id: Digest, number: u64) {
        assert_ne!(number, FREE, "a number that means free");
        if (self.len + 1) * 4 > self.places.len() * 3 {
            let larger = vec![(Digest::ZERO, FREE); (self.places.len() * 2).max(64)];
            let all = std::mem::replace(&mut self.places, larger);
            for (id, number) in all.into_iter().filter(|(_, number)| *number != FREE) {
                let place = self.place(&id);
                self.places[place] = (id, number);
            }
        }
        let place = self.place(&id);
        assert_eq!(self.places[place].1, FREE, "{id} is there already");
        self.places[place] = (id, number);
        self.len += 1;
    }

    /// Where a digest is, or would be.
    fn place(&self, id: &Digest) -> usize {
        let mask = self.places.len() - 1;
        let mut place = super::prefix(id) as usize & mask;
        while self.places[place].1 != FREE && self.places[place].0 != *id {
            place = (place + 1) & mask;
        }
        place
    }
}
