use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

/// A machine of numbers: `speed` instructions per wall second, and a guest that works `work`
/// instructions, then waits for `wait_ns` of virtual time, again and again.
struct Fake {
    now: Instant,
    rate: u32,
    speed: u64,
    work: u64,
    wait_ns: u64,
    work_left: u64,
    wake: Option<Instant>,
}

impl Fake {
    fn new(speed: u64, work: u64, wait_ns: u64) -> Fake {
        let now = Instant::ZERO;
        Fake { now, rate: 16, speed, work, wait_ns, work_left: work, wake: None }
    }

    /// Runs to `until`; returns wall time taken and instructions.
    fn run(&mut self, until: Instant) -> (u64, u64) {
        let mut instructions = 0;
        while self.now < until {
            if let Some(wake) = self.wake {
                self.now = wake.min(until);
                if self.now < wake {
                    break;
                }
                self.wake = None;
                self.work_left = self.work;
            }
            let room = until.since(self.now).get().div_ceil(self.rate.into());
            let steps = room.min(self.work_left);
            self.now += Ticks::new(steps * u64::from(self.rate));
            instructions += steps;
            self.work_left -= steps;
            if self.work_left == 0 {
                self.wake = Some(self.now + Ticks::from_ns(self.wait_ns));
            }
        }
        (instructions * SECOND / self.speed + 1000, instructions)
    }
}

#[derive(Debug, Default)]
struct Seen {
    changes: u32,
    longest_slice_ns: u64,
    worst_ns: u64,
    busy_ns: u64,
    final_ns: i64,
}

/// Paces `fake` for `seconds` of wall time.
fn pace(fake: &mut Fake, seconds: u64) -> Seen {
    let (mut wall, mut seen) = (5 * SECOND, Seen::default());
    let start = wall;
    let mut pacer = Pacer::new(wall, fake.now, fake.rate);
    while wall < start + seconds * SECOND {
        match pacer.plan(wall, fake.now, fake.wake) {
            Plan::Run { until, rate } => {
                if let Some(rate) = rate {
                    fake.rate = rate;
                    seen.changes += 1;
                }
                let (took, instructions) = fake.run(until);
                wall += took;
                pacer.ran(took, instructions);
                seen.busy_ns += took;
                seen.longest_slice_ns = seen.longest_slice_ns.max(took);
                if wall > start + SECOND {
                    let apart = pacer.instant_at(wall).ns().abs_diff(fake.now.ns());
                    seen.worst_ns = seen.worst_ns.max(apart);
                }
            }
            Plan::Sleep { until_wall_ns } => {
                let until = until_wall_ns.expect("the fake always has a next event");
                assert!(until > wall, "sleeps until the past");
                wall = until;
            }
        }
    }
    seen.final_ns = fake.now.ns() as i64 - (wall - start) as i64;
    seen
}

#[test]
fn a_busy_guest_keeps_time_with_few_changes_of_rate() {
    let check = |speed: u64| {
        let seen = pace(&mut Fake::new(speed, u64::MAX / 2, 0), 10);
        assert!(seen.changes <= 100, "{speed}: {seen:?}");
        assert!(seen.worst_ns < 400 * MS, "{speed}: {seen:?}");
        assert!(seen.final_ns.unsigned_abs() < 1500 * MS, "{speed}: {seen:?}");
        assert!(seen.longest_slice_ns <= 4 * MS, "{speed}: {seen:?}");
    };
    for speed in [16_000_000, 30_000_000, 100_000_000, 399_000_000, 1_000_000_000, 5_000_000_000] {
        check(speed);
    }
}

#[test]
fn an_idle_guest_costs_nothing_and_gets_no_rate_inputs() {
    // Ten wake-ups a second of 20 000 instructions each.
    let seen = pace(&mut Fake::new(400_000_000, 20_000, 100 * MS), 10);
    assert_eq!(seen.changes, 0);
    assert!(seen.busy_ns < 100 * MS, "{seen:?}");
    assert!(seen.worst_ns < 5 * MS, "{seen:?}");
}

#[test]
fn a_sleeping_guest_wakes_on_time() {
    let mut pacer = Pacer::new(100, Instant::ZERO, 16);
    let check = |pacer: &mut Pacer, wall, idle, expected| {
        assert_eq!(pacer.plan(wall, Instant::ZERO, idle), Plan::Sleep { until_wall_ns: expected });
    };
    check(&mut pacer, 100, Some(Instant::from_ns(500)), Some(600));
    check(&mut pacer, 599, Some(Instant::from_ticks(500 * 16 + 1)), Some(601));
    check(&mut pacer, 100, Some(Instant::MAX), None);
    let due = pacer.plan(600, Instant::ZERO, Some(Instant::from_ns(500)));
    assert!(matches!(due, Plan::Run { until, .. } if until > Instant::from_ns(500)));
}

#[test]
fn inputs_get_the_instant_they_arrive_at() {
    let pacer = Pacer::new(100, Instant::ZERO, 16);
    let check = |wall, now_ns, idle_ns: Option<u64>, expected: Option<u64>| {
        let leap = pacer.leap(wall, Instant::from_ns(now_ns), idle_ns.map(Instant::from_ns));
        assert_eq!(leap, expected.map(Instant::from_ns));
    };
    check(1100, 10, Some(5000), Some(1000));
    check(1100, 10, Some(700), Some(700));
    check(1100, 2000, Some(5000), None);
    check(1100, 10, None, None);
}

#[test]
fn long_waits_are_no_lag_but_a_held_host_is_forgiven() {
    // Ten seconds of waiting without a timer, then an input: the machine leaps all of it.
    let mut pacer = Pacer::new(0, Instant::ZERO, 16);
    let leap = pacer.leap(10 * SECOND, Instant::ZERO, Some(Instant::MAX)).unwrap();
    assert_eq!(leap.ns(), 10 * SECOND);
    // A busy guest whose host was stopped for ten seconds starts again from where it was.
    let now = Instant::from_ns(10 * SECOND);
    pacer.plan(20 * SECOND, now, None);
    assert_eq!(pacer.instant_at(20 * SECOND), now);
}
