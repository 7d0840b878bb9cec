//! Bounded, seeded versions of the fuzz targets.

use super::*;

/// Bytes from a seeded generator.
fn noise(kind: Kind, seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{kind:?}").as_bytes()).update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn devices_survive_garbage() {
    for kind in Kind::ALL {
        for seed in 0..200 {
            drive(kind, &noise(kind, seed, 6000));
        }
    }
}

#[test]
fn devices_go_on_after_restore_as_if_nothing_had_happened() {
    for kind in Kind::ALL {
        for seed in 1000..1100 {
            save_and_restore(kind, &noise(kind, seed, 6000));
        }
    }
}

/// A device's real saved state with a few bytes changed: most are refused, none does harm.
struct Damage {
    seed: u64,
    accepted: u32,
}

impl Task for Damage {
    fn run<D: Fuzzed>(&mut self, make: &dyn Fn() -> D) {
        let kind = Kind::Uart;
        let (mut device, mut bench) = (make(), Bench::new());
        bench.drive(&mut device, &noise(kind, self.seed, 3000));
        let saved = postcard::to_stdvec(&device.save()).expect("plain data");
        for round in 0..30 {
            let mut damaged = saved.clone();
            let changes = noise(kind, self.seed << 8 | round, 16);
            for change in changes.chunks_exact(4).take(1 + round as usize % 4) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % damaged.len();
                damaged[at] = if change[2] < 128 { change[3] } else { 0xff };
            }
            let Ok(state) = postcard::from_bytes::<D::State>(&damaged) else { continue };
            let mut device = make();
            if device.restore(state).is_ok() {
                self.accepted += 1;
                let mut bench = bench.copy();
                bench.now = Instant::from_ns(1 << 40);
                bench.drive(&mut device, &noise(kind, round, 2000));
            }
        }
    }
}

#[test]
fn devices_survive_damaged_state() {
    for kind in Kind::ALL {
        let mut accepted = 0;
        for seed in 2000..2010 {
            let mut damage = Damage { seed, accepted: 0 };
            with_device(kind, &mut damage);
            accepted += damage.accepted;
        }
        assert!(accepted > 0, "{kind:?}: no damaged state got as far as the device");
        for seed in 0..200 {
            restore(kind, &noise(kind, seed, 400));
        }
    }
}
