//! Several people at one machine.

use super::*;
use crate::protocol::{Keyboard, KeyboardMode, Person, RefusedKey, Said};
use stackvm_catalog::Catalog;

fn keyboard(message: &ServerMessage) -> Option<Keyboard> {
    match message {
        ServerMessage::Keyboard(keyboard) => Some(keyboard.clone()),
        _ => None,
    }
}

fn people(message: &ServerMessage) -> Option<Vec<Person>> {
    match message {
        ServerMessage::People { people } => Some(people.clone()),
        _ => None,
    }
}

fn names(message: &ServerMessage) -> Option<Vec<String>> {
    people(message).map(|people| people.into_iter().map(|person| person.name).collect())
}

fn said(frames: &[Frame]) -> Vec<Said> {
    let of_frame = |frame: &Frame| match frame {
        Frame::Message(ServerMessage::Chat { said }) => said.clone(),
        _ => Vec::new(),
    };
    frames.iter().flat_map(of_frame).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_passed_from_the_third_driver_on() {
    let world = World::new().await;
    let (mut ada, mut bob) = (world.join(ADA).await, world.join(BOB).await);
    for guest in [&mut ada, &mut bob] {
        let number = guest.type_text("x");
        guest.applied(number).await;
    }
    let mut eve = world.join(EVE).await;
    let first = eve.type_text("mine");
    eve.applied(first).await;
    let second = bob.type_text("no");
    assert_eq!(bob.refused(second).await, RefusedKey::NotYours);
    bob.hear(ClientMessage::AskKeyboard).await;
    let holder = eve.page.id;
    let waits = |message: &ServerMessage| keyboard(message).filter(|it| !it.waiting.is_empty());
    assert_eq!(ada.message(waits).await.holder, Some(holder));
    drop(eve);
    // Bob's turn; and with two left it is open again.
    let number = ada.type_text("y");
    ada.applied(number).await;
    assert!(!ada.message(|it| keyboard(it).filter(|it| !it.passed)).await.passed);
    assert_eq!(world.lab.known().typed.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_rules_over_the_keyboard() {
    let world = World::new().await;
    let (mut owner, mut ada) = (world.join(OWNER).await, world.join(ADA).await);
    owner.hear(ClientMessage::SetKeyboard { mode: KeyboardMode::Open, locked: true }).await;
    let number = ada.type_text("x");
    assert_eq!(ada.refused(number).await, RefusedKey::Locked);
    owner.hear(ClientMessage::SetKeyboard { mode: KeyboardMode::Passed, locked: false }).await;
    let number = ada.type_text("x");
    ada.applied(number).await;
    owner.hear(ClientMessage::TakeKeyboard).await;
    let number = ada.type_text("x");
    assert_eq!(ada.refused(number).await, RefusedKey::NotYours);
    owner.hear(ClientMessage::GiveKeyboard { to: ada.page.id }).await;
    let number = ada.type_text("x");
    ada.applied(number).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_is_of_whoever_typed_last_and_joining_changes_nothing() {
    let world = World::new().await;
    let (mut desktop, mut phone) = (world.join(OWNER).await, world.join(ADA).await);
    let wish = |columns, rows| ClientMessage::Resize { console: 0, columns, rows };
    desktop.watch().await;
    desktop.hear(wish(120, 40)).await;
    let size = |columns: u16| {
        move |message: &ServerMessage| match message {
            ServerMessage::Size { columns: now, rows, .. } if *now == columns => Some(*rows),
            _ => None,
        }
    };
    desktop.message(size(120)).await;
    phone.hear(wish(40, 20)).await;
    let number = desktop.type_text("vim\r");
    desktop.applied(number).await;
    assert_eq!(world.lab.known().resizes, [(120, 40)]);
    // The phone types: it is theirs. The desktop's window changes: it is still the phone's.
    let number = phone.type_text("x");
    phone.applied(number).await;
    desktop.hear(wish(100, 30)).await;
    desktop.message(size(40)).await;
    assert_eq!(world.lab.known().resizes, [(120, 40), (40, 20)]);
    let number = desktop.type_text("x");
    desktop.applied(number).await;
    assert_eq!(world.lab.known().resizes, [(120, 40), (40, 20), (100, 30)]);
    // Somebody at the command line has another one.
    world.lab.resize(90, 25);
    assert_eq!(desktop.message(size(90)).await, 25);
    phone.watch().await;
    assert!(phone.got.iter().any(|frame| matches!(frame,
        Frame::Terminal(it) if it[0] == 1 && it[10..14] == [0, 90, 0, 25])));
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_who_is_here_and_who_types() {
    let world = World::new().await;
    let mut owner = world.join(OWNER).await;
    let mut ada = world.join(ADA).await;
    owner.message(|it| names(it).filter(|it| *it == ["person 0", "person 1"])).await;
    ada.hear(ClientMessage::Rename { name: " Ada\u{1b} \u{202e}Byron ".into() }).await;
    owner.message(|it| names(it).filter(|it| it[1] == "Ada Byron")).await;
    ada.hear(ClientMessage::Ping { nonce: 7, lag_ms: Some(35) }).await;
    ada.message(|it| matches!(it, ServerMessage::Pong { nonce: 7 }).then_some(())).await;
    ada.hear(ClientMessage::Away { away: true }).await;
    owner.hear(ClientMessage::Mute { person: ada.page.id, muted: true }).await;
    let all = |it: &ServerMessage| {
        people(it).filter(|it| it[1].lag_ms == Some(35) && it[1].away && it[1].muted)
    };
    owner.message(all).await;

    let number = ada.type_text("x");
    ada.applied(number).await;
    let typist = |name: &'static str| {
        move |message: &ServerMessage| match message {
            ServerMessage::Typist { person, name: who, .. } if who == name => Some(*person),
            _ => None,
        }
    };
    assert_eq!(owner.message(typist("Ada Byron")).await, Some(ada.page.id));
    let views = world.rooms.people("m");
    assert_eq!(views.iter().map(|it| it.types).collect::<Vec<_>>(), [false, true]);
    world.lab.typed_elsewhere("ada at the command line");
    assert_eq!(owner.message(typist("ada at the command line")).await, None);
    drop(ada);
    owner.message(|it| names(it).filter(|it| *it == ["person 0"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chat_is_kept_and_shown_from_the_right_on() {
    let world = World::new().await;
    let (mut owner, mut ada) = (world.join(OWNER).await, world.join(ADA).await);
    ada.hear(ClientMessage::Say { text: "hello\u{7}\nthere".into(), at_ns: None }).await;
    let hello =
        |frames: &[Frame]| said(frames).into_iter().find(|said| said.text == "hello\nthere");
    let heard = owner.until(hello).await;
    assert_eq!((heard.name.as_str(), heard.instant_ns), ("person 1", Some(lab::INSTANT_NS)));
    // It is there for whoever comes later, unless it was before their time.
    let mut bob = world.join(BOB).await;
    assert_eq!(bob.until(hello).await, heard);
    let later = Grant { past_from_unix_ms: heard.at_unix_ms + 1, ..grant_of(EVE) };
    let mut eve = world.join_as(joining(EVE), later).await.unwrap();
    while unix_ms() <= heard.at_unix_ms {
        tokio::task::yield_now().await;
    }
    owner.hear(ClientMessage::Say { text: "now".into(), at_ns: None }).await;
    eve.until(|frames| said(frames).into_iter().find(|said| said.text == "now")).await;
    assert_eq!(hello(&eve.got), None);
    // Who has read it already is not told again.
    let again = Joining { chat: heard.id, page: page_name(77), ..joining(BOB) };
    let mut bob = world.join_as(again, grant_of(BOB)).await.unwrap();
    bob.until(|frames| said(frames).into_iter().find(|said| said.text == "now")).await;
    assert_eq!(hello(&bob.got), None);
    // What happened is in it, too.
    let came = |frames: &[Frame]| {
        said(frames).into_iter().find(|it| it.name.is_empty() && it.text == "person 3 came")
    };
    owner.until(came).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_an_instant_is_pinned_to_it() {
    let world = World::new().await;
    let mut owner = world.join(OWNER).await;
    let from_ns = lab::INSTANT_NS / 2;
    let late = Grant { past_from_ns: from_ns, ..grant_of(EVE) };
    let mut eve = world.join_as(joining(EVE), late).await.unwrap();
    let mut check = async |who: &mut Guest, at_ns, expected| {
        let text = format!("{at_ns:?} by {expected}");
        who.hear(ClientMessage::Say { text: text.clone(), at_ns }).await;
        let heard = |frames: &[Frame]| said(frames).into_iter().find(|said| said.text == text);
        assert_eq!(owner.until(heard).await.instant_ns, Some(expected));
    };
    check(&mut eve, Some(from_ns + 1), from_ns + 1).await;
    // Nobody speaks of what is not there yet, nor of what they may not see.
    check(&mut eve, Some(u64::MAX), lab::INSTANT_NS).await;
    check(&mut eve, Some(0), from_ns).await;
    check(&mut eve, None, lab::INSTANT_NS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_too_much_or_is_muted_says_nothing() {
    let world = World::new().await;
    let (mut owner, mut ada) = (world.join(OWNER).await, world.join(ADA).await);
    let notice = |message: &ServerMessage| match message {
        ServerMessage::Notice { text } => Some(text.clone()),
        _ => None,
    };
    owner.hear(ClientMessage::Mute { person: ada.page.id, muted: true }).await;
    ada.hear(ClientMessage::Say { text: "psst".into(), at_ns: None }).await;
    assert!(ada.message(notice).await.contains("muted"));
    owner.hear(ClientMessage::Mute { person: ada.page.id, muted: false }).await;
    for n in 0..100 {
        ada.hear(ClientMessage::Say { text: format!("flood {n}"), at_ns: None }).await;
    }
    let slow = |message: &ServerMessage| notice(message).filter(|it| it.contains("too much"));
    ada.message(slow).await;
    let kept = world.catalog.said("m", 0, 0, 1000).await.unwrap();
    let floods = kept.iter().filter(|said| said.text.starts_with("flood")).count();
    assert!((5..30).contains(&floods), "{floods}");
    assert!(!kept.iter().any(|said| said.text == "psst"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_comes_again_is_who_it_was() {
    let world = World::new().await;
    let mut owner = world.join(OWNER).await;
    let mut first = world.join(ADA).await;
    let number = first.type_text("x");
    first.applied(number).await;
    let mut end = first.page.end();
    let mut second = world.join(ADA).await;
    assert_eq!(second.page.id, first.page.id);
    assert_eq!(*end.wait_for(Option::is_some).await.unwrap(), Some(End::Replaced));
    // Nobody listens to the first connection any more, nor does its end matter.
    first.type_text("y");
    drop(first);
    second.number = 1;
    let number = second.type_text("z");
    second.applied(number).await;
    let typed: Vec<_> = world.lab.known().typed.iter().map(|it| it.bytes.clone()).collect();
    assert_eq!(typed, [b"x", b"z"]);
    owner.message(|it| names(it).filter(|it| it.len() == 2)).await;
    let welcome = second.message(|message| match message {
        ServerMessage::Welcome(welcome) => Some(welcome.applied),
        _ => None,
    });
    assert_eq!(welcome.await, InputNumber(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_how_the_machine_is() {
    use stackvm_host::protocol::{State, StopReason};
    let world = World::new().await;
    let mut page = world.join(OWNER).await;
    let state = |wanted: MachineState| {
        move |message: &ServerMessage| match message {
            ServerMessage::State { state, detail, .. } if *state == wanted => Some(detail.clone()),
            _ => None,
        }
    };
    page.message(state(MachineState::Running)).await;
    world.lab.set_state(State::Stalled { reason: "the disk is full".into() });
    assert_eq!(page.message(state(MachineState::Paused)).await, "the disk is full");
    world.rooms.renamed("m", "lesson");
    page.message(|it| {
        matches!(it, ServerMessage::Renamed { name } if name == "lesson").then_some(())
    })
    .await;
    world.lab.set_state(State::Stopped(StopReason::PowerOff { code: 0 }));
    assert_eq!(page.message(state(MachineState::Stopped)).await, "the guest switched it off");
    let number = page.type_text("x");
    assert_eq!(page.refused(number).await, RefusedKey::Off);
    drop(world.lab);
    world
        .rooms
        .tell("m", News::Progress(Progress { phase: "unpacking".into(), ..Progress::default() }));
    page.message(|it| matches!(it, ServerMessage::Progress { .. }).then_some(())).await;
    let fault = Fault { what: "no memory".into(), action: "free some".into() };
    world.rooms.tell("m", News::Failed(fault));
    assert_eq!(page.message(state(MachineState::Failed)).await, "no memory");
    world.rooms.tell("m", News::Off);
    // It is deleted: everybody is put out.
    let mut end = page.page.end();
    std::fs::remove_dir_all(world.data.path().join("machines/m")).unwrap();
    world.rooms.look();
    let ended = timeout(PATIENCE, end.wait_for(Option::is_some)).await.unwrap();
    assert_eq!(*ended.unwrap(), Some(End::Gone(Gone::Deleted)));
    assert_eq!(world.rooms.join(joining(ADA), grant_of(ADA)).await.err(), Some(Gone::Deleted));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_settled_survives_the_server() {
    let mut world = World::new().await;
    for who in [ADA, BOB, EVE] {
        world.catalog.add_session(&session_of(who)).await.unwrap();
    }
    let (mut owner, ada) = (world.join(OWNER).await, world.join(ADA).await);
    let bob = world.join(BOB).await;
    owner.hear(ClientMessage::SetKeyboard { mode: KeyboardMode::Passed, locked: true }).await;
    owner.hear(ClientMessage::Mute { person: ada.page.id, muted: true }).await;
    owner.hear(ClientMessage::Mute { person: bob.page.id, muted: true }).await;
    owner.hear(ClientMessage::Mute { person: bob.page.id, muted: false }).await;
    owner.hear(ClientMessage::LockDoor { locked: true }).await;
    drop((owner, ada, bob));

    // Another server, on the same data directory.
    world.rooms = rooms(world.data.path(), &world.catalog, "r2");
    assert_eq!(world.join_as(joining(EVE), grant_of(EVE)).await.err(), Some(Gone::Locked));
    let (mut ada, mut bob) = (world.join(ADA).await, world.join(BOB).await);
    let shown = bob.message(|it| people(it).filter(|it| it.len() == 2)).await;
    assert_eq!(shown.iter().map(|it| it.muted).collect::<Vec<_>>(), [true, false]);
    let shown = bob.message(keyboard).await;
    assert_eq!((shown.mode, shown.locked), (KeyboardMode::Passed, true));
    let number = ada.type_text("x");
    assert_eq!(ada.refused(number).await, RefusedKey::Locked);
    ada.hear(ClientMessage::Say { text: "psst".into(), at_ns: None }).await;
    let muted = |it: &ServerMessage| {
        matches!(it, ServerMessage::Notice { text } if text.contains("muted")).then_some(())
    };
    ada.message(muted).await;

    // What is taken back stays so, too.
    let mut owner = world.join(OWNER).await;
    owner.hear(ClientMessage::LockDoor { locked: false }).await;
    owner.hear(ClientMessage::Mute { person: ada.page.id, muted: false }).await;
    drop((owner, ada, bob));
    world.rooms = rooms(world.data.path(), &world.catalog, "r3");
    let mut eve = world.join(EVE).await;
    let locked = |it: &ServerMessage| match it {
        ServerMessage::Welcome(welcome) => Some(welcome.door_locked),
        _ => None,
    };
    assert!(!eve.message(locked).await);
}

fn session_of(who: u8) -> stackvm_catalog::rows::SessionRow {
    let Grant { session, name, hue, .. } = grant_of(who);
    stackvm_catalog::rows::SessionRow {
        id: session,
        secret: stackvm_catalog::ids::Secret::random().unwrap().hash(),
        owner: None,
        name,
        hue,
        created_unix_ms: 1,
        seen_unix_ms: 1,
    }
}
