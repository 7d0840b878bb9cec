use super::*;

/// What happens around a keyboard; people are numbers, 0 is the owner, 9 a viewer.
enum Do {
    Join(&'static [u32]),
    Leave(u32),
    /// Types, and this is what becomes of it.
    Type(u32, Result<(), RefusedKey>),
    Ask(u32),
    Release(u32),
    Give(u32, u32),
    Take(u32),
    Set(KeyboardMode, bool),
    /// So many seconds pass.
    Wait(u64),
    /// This is who has it and who waits now.
    Has(Option<u32>, &'static [u32]),
    /// This is whether it is passed now.
    Passed(bool),
    /// So many seconds are shown as left.
    Left(Option<u32>),
}
use Do::*;

const OWNER: u32 = 0;
const VIEWER: u32 = 9;

fn check(name: &str, story: &[Do]) {
    let (mut turns, mut now) = (Turns::default(), Instant::now());
    for (step, act) in story.iter().enumerate() {
        let id = PersonId;
        match *act {
            Join(people) => {
                for &who in people {
                    let standing = match who {
                        OWNER => Standing::Owns,
                        VIEWER => Standing::Watches,
                        _ => Standing::Types,
                    };
                    turns.join(id(who), standing);
                }
            }
            Leave(who) => turns.leave(id(who), now),
            Type(who, expected) => {
                assert_eq!(turns.type_key(id(who), now), expected, "{name}: step {step}");
            }
            Ask(who) => turns.ask(id(who), now),
            Release(who) => turns.release(id(who), now),
            Give(from, to) => turns.give(id(from), id(to), now),
            Take(who) => turns.take(id(who), now),
            Set(mode, locked) => turns.set(mode, locked),
            Wait(seconds) => {
                now += Duration::from_secs(seconds);
                turns.expire(now);
            }
            Has(holder, waiting) => {
                let view = turns.view(now);
                let waits: Vec<u32> = view.waiting.iter().map(|who| who.0).collect();
                assert_eq!(view.holder.map(|who| who.0), holder, "{name}: step {step}");
                assert_eq!(waits, waiting, "{name}: step {step}");
            }
            Passed(passed) => {
                assert_eq!(turns.view(now).passed, passed, "{name}: step {step}");
            }
            Left(left) => assert_eq!(turns.view(now).left_s, left, "{name}: step {step}"),
        }
    }
}

const NOT_YOURS: Result<(), RefusedKey> = Err(RefusedKey::NotYours);
const LOCKED: Result<(), RefusedKey> = Err(RefusedKey::Locked);
const NO_RIGHT: Result<(), RefusedKey> = Err(RefusedKey::NoRight);

#[test]
fn it_is_open_for_two_and_passed_from_the_third_on() {
    check("two", &[Join(&[0, 1]), Passed(false), Type(0, Ok(())), Type(1, Ok(())), Has(None, &[])]);
    check("a viewer is no typist", &[Join(&[0, 1, 9]), Passed(false), Type(9, NO_RIGHT)]);
    check(
        "three",
        &[
            Join(&[0, 1, 2]),
            Passed(true),
            Has(None, &[]),
            Type(1, Ok(())),
            Has(Some(1), &[]),
            Type(0, NOT_YOURS),
            Type(2, NOT_YOURS),
            Type(1, Ok(())),
        ],
    );
    check(
        "and open again",
        &[
            Join(&[0, 1, 2]),
            Type(1, Ok(())),
            Ask(2),
            Leave(0),
            Passed(false),
            Has(None, &[]),
            Type(2, Ok(())),
        ],
    );
}

#[test]
fn the_owner_chooses_how_it_goes_around() {
    check(
        "open for many",
        &[
            Join(&[0, 1, 2]),
            Type(1, Ok(())),
            Ask(2),
            Set(KeyboardMode::Open, false),
            Has(None, &[]),
            Type(0, Ok(())),
            Type(2, Ok(())),
        ],
    );
    check(
        "passed between two",
        &[Join(&[0, 1]), Set(KeyboardMode::Passed, false), Type(1, Ok(())), Type(0, NOT_YOURS)],
    );
    check(
        "locked",
        &[
            Join(&[0, 1]),
            Set(KeyboardMode::Auto, true),
            Type(1, LOCKED),
            Type(0, Ok(())),
            Set(KeyboardMode::Auto, false),
            Type(1, Ok(())),
        ],
    );
    check(
        "locked while passed",
        &[
            Join(&[0, 1, 2]),
            Type(1, Ok(())),
            Set(KeyboardMode::Auto, true),
            Type(1, LOCKED),
            Type(0, NOT_YOURS),
            Take(0),
            Type(0, Ok(())),
        ],
    );
}

#[test]
fn it_is_asked_for_given_taken_and_released() {
    check("asked for while free", &[Join(&[0, 1, 2]), Ask(2), Has(Some(2), &[])]);
    check(
        "a queue",
        &[
            Join(&[0, 1, 2, 3]),
            Type(1, Ok(())),
            Ask(2),
            Ask(3),
            Ask(2),
            Ask(1),
            Has(Some(1), &[2, 3]),
            Release(1),
            Has(Some(2), &[3]),
            Release(3),
            Has(Some(2), &[]),
            Release(2),
            Has(None, &[]),
        ],
    );
    check(
        "given by its holder",
        &[Join(&[0, 1, 2]), Type(1, Ok(())), Ask(2), Give(1, 2), Has(Some(2), &[])],
    );
    check("not by others", &[Join(&[0, 1, 2]), Type(1, Ok(())), Give(2, 2), Has(Some(1), &[])]);
    check(
        "by the owner always",
        &[Join(&[0, 1, 2]), Type(1, Ok(())), Give(0, 2), Has(Some(2), &[])],
    );
    check(
        "not to a viewer, nor to somebody absent",
        &[Join(&[0, 1, 2, 9]), Type(1, Ok(())), Give(1, 9), Give(1, 7), Has(Some(1), &[])],
    );
    check(
        "taken by the owner only",
        &[
            Join(&[0, 1, 2]),
            Type(1, Ok(())),
            Ask(2),
            Take(2),
            Has(Some(1), &[2]),
            Take(0),
            Has(Some(0), &[2]),
            Type(1, NOT_YOURS),
        ],
    );
    check("a viewer waits for nothing", &[Join(&[0, 1, 2, 9]), Ask(9), Has(None, &[])]);
    check("nothing to ask for while it is open", &[Join(&[0, 1]), Ask(1), Take(0), Has(None, &[])]);
}

#[test]
fn who_leaves_or_sleeps_loses_it() {
    check(
        "left",
        &[Join(&[0, 1, 2, 3]), Type(1, Ok(())), Ask(2), Ask(3), Leave(1), Has(Some(2), &[3])],
    );
    check(
        "left the queue",
        &[Join(&[0, 1, 2, 3]), Type(1, Ok(())), Ask(2), Ask(3), Leave(2), Has(Some(1), &[3])],
    );
    check(
        "idle while nobody waits",
        &[Join(&[0, 1, 2]), Type(1, Ok(())), Wait(3600), Has(Some(1), &[])],
    );
    check(
        "idle while somebody waits",
        &[
            Join(&[0, 1, 2]),
            Type(1, Ok(())),
            Ask(2),
            Wait(59),
            Has(Some(1), &[2]),
            Wait(1),
            Has(Some(2), &[]),
        ],
    );
    check(
        "each key counts",
        &[
            Join(&[0, 1, 2]),
            Type(1, Ok(())),
            Ask(2),
            Wait(59),
            Type(1, Ok(())),
            Wait(59),
            Has(Some(1), &[2]),
            Wait(1),
            Has(Some(2), &[]),
        ],
    );
    check(
        "asked for when it was idle long ago",
        &[Join(&[0, 1, 2]), Type(1, Ok(())), Wait(100), Ask(2), Has(Some(2), &[])],
    );
    check(
        "whoever got it has their minute",
        &[
            Join(&[0, 1, 2, 3]),
            Type(1, Ok(())),
            Ask(2),
            Ask(3),
            Wait(60),
            Has(Some(2), &[3]),
            Wait(59),
            Has(Some(2), &[3]),
            Wait(1),
            Has(Some(3), &[]),
        ],
    );
}

#[test]
fn everybody_is_shown_how_long_an_idle_holder_has_left() {
    check(
        "counted from thirty seconds on, and only while somebody waits",
        &[
            Join(&[0, 1, 2]),
            Type(1, Ok(())),
            Wait(50),
            Left(None),
            Ask(2),
            Left(Some(10)),
            Wait(1),
            Left(Some(9)),
            Type(1, Ok(())),
            Left(None),
            Wait(29),
            Left(None),
            Wait(1),
            Left(Some(30)),
            Wait(29),
            Left(Some(1)),
            Wait(1),
            Has(Some(2), &[]),
            Left(None),
        ],
    );
}
