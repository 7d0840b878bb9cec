//! What a page cannot do, whatever it sends: the attacker has a link.

use super::*;
use crate::protocol::{KeyboardMode, PersonId, RefusedKey};
use socket::{Got, TestPage, TestServer};

/// Every message that needs a right ends the connection of whoever lacks it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_yours_to_do_ends_the_connection() {
    let world = World::new().await;
    let mut owner = world.join(OWNER).await;
    let owner_id = owner.page.id;
    let check = async |who: u8, message: ClientMessage, allowed: bool| {
        let mut page = world.join(who).await;
        assert_eq!(page.page.hear(message.clone()).await.is_ok(), allowed, "{who}: {message:?}");
    };
    let owners = [
        ClientMessage::TakeKeyboard,
        ClientMessage::SetKeyboard { mode: KeyboardMode::Open, locked: true },
        ClientMessage::Mute { person: owner_id, muted: true },
        ClientMessage::Remove { person: owner_id },
        ClientMessage::LockDoor { locked: true },
    ];
    for message in owners {
        for who in [VIEWER, COMMENTER, ADA] {
            check(who, message.clone(), false).await;
        }
    }
    for message in [
        ClientMessage::AskKeyboard,
        ClientMessage::ReleaseKeyboard,
        ClientMessage::GiveKeyboard { to: owner_id },
        ClientMessage::Bring,
    ] {
        for (who, allowed) in [(VIEWER, false), (COMMENTER, false), (ADA, true)] {
            check(who, message.clone(), allowed).await;
        }
    }
    let say = ClientMessage::Say { text: "hello".into(), at_ns: None };
    for (who, allowed) in [(VIEWER, false), (COMMENTER, true), (ADA, true)] {
        check(who, say.clone(), allowed).await;
    }
    for message in [
        ClientMessage::Watch { console: 3 },
        ClientMessage::Look { console: 3, at_ns: None },
        ClientMessage::Resize { console: 200, columns: 80, rows: 24 },
        ClientMessage::Join {
            version: 3,
            page: page_name(1),
            bearer: None,
            run: None,
            seen: BTreeMap::new(),
            chat: 0,
        },
    ] {
        check(ADA, message, false).await;
    }
    let keyboard = owner.message(|message| match message {
        ServerMessage::Keyboard(keyboard) => Some(keyboard.clone()),
        _ => None,
    });
    assert!(!keyboard.await.locked);
    assert!(world.rooms.join(joining(EVE), grant_of(EVE)).await.is_ok(), "the door is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewers_socket_cannot_inject() {
    let world = World::new().await;
    let server = TestServer::start(world.rooms.clone()).await;
    for who in [VIEWER, COMMENTER] {
        let mut page = TestPage::open(server.addr, who, &page_name(who)).await;
        page.say(&ClientMessage::Resize { console: 0, columns: 40, rows: 12 }).await;
        page.type_key(InputNumber(1), b"rm -rf /\r").await;
        loop {
            match page.next().await {
                Got::Message(ServerMessage::Refused { number, reason }) => {
                    assert_eq!((number, reason), (InputNumber(1), RefusedKey::NoRight));
                    break;
                }
                Got::Closed => panic!("an answer was expected"),
                _ => {}
            }
        }
    }
    // Rubbish of every kind ends the connection.
    for (kind, payload) in [
        (2, &b""[..]),
        (2, &[0; 9]),
        (2, &[9, 0, 0, 0, 0, 0, 0, 0, 1, b'x']),
        (1, b"{"),
        (1, br#"{"type":"say"}"#),
        (1, br#"{"type":"ping","nonce":1,"lag_ms":null,"more":1}"#),
        (1, br#"{"type":"say","text":"a viewer says nothing"}"#),
    ] {
        let mut page = TestPage::open(server.addr, VIEWER, &page_name(VIEWER)).await;
        page.send(kind, payload).await;
        let ended = async { while !matches!(page.next().await, Got::Closed) {} };
        timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("{payload:?} is put up with"));
    }
    // A driver's key after all this is the only one the machine had.
    let mut driver = world.join(ADA).await;
    let number = driver.type_text("x");
    driver.applied(number).await;
    let known = world.lab.known();
    assert_eq!(known.typed.len(), 1);
    assert!(known.resizes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_cut_is_gone_within_a_second() {
    let world = World::new().await;
    let server = TestServer::start(world.rooms.clone()).await;
    let share = grant_of(VIEWER).share.unwrap();
    let session = grant_of(VIEWER).session;
    let cuts = [
        Cut::Share(share, Gone::Revoked),
        Cut::Session(session, Gone::Removed),
        Cut::Machine("m".into(), Gone::Deleted),
        Cut::All(Gone::Closing),
    ];
    for cut in cuts {
        let reason = match &cut {
            Cut::Share(_, it) | Cut::Session(_, it) | Cut::Machine(_, it) | Cut::All(it) => *it,
        };
        let mut page = TestPage::open(server.addr, VIEWER, &page_name(VIEWER)).await;
        while !matches!(page.next().await, Got::Message(ServerMessage::People { .. })) {}
        assert_eq!(world.rooms.here(share), 1);
        world.rooms.cut(&cut);
        assert_eq!(world.rooms.here(share), 0);
        assert!(world.rooms.people("m").is_empty());
        assert_eq!(gone_within(&mut page, Duration::from_secs(1)).await, Some(reason), "{cut:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_expires_ends_connections() {
    let world = World::new().await;
    let soon = Grant { expires_unix_ms: Some(unix_ms() + 300), ..grant_of(VIEWER) };
    let mut page = world.join_as(joining(VIEWER), soon).await.unwrap();
    let mut end = page.page.end();
    let ended = timeout(Duration::from_secs(2), end.wait_for(Option::is_some)).await;
    assert_eq!(*ended.expect("it ends in time").unwrap(), Some(End::Gone(Gone::Expired)));
    assert!(page.page.next_frames().is_empty());
    let late = Grant { expires_unix_ms: Some(unix_ms()), ..grant_of(VIEWER) };
    assert_eq!(world.join_as(joining(VIEWER), late).await.err(), Some(Gone::Expired));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_removes_people_and_locks_the_door() {
    let world = World::new().await;
    let mut owner = world.join(OWNER).await;
    let ada = world.join(ADA).await;
    let bob = world.join(BOB).await;
    let mut end = ada.page.end();
    owner.hear(ClientMessage::Remove { person: ada.page.id }).await;
    assert_eq!(*end.wait_for(Option::is_some).await.unwrap(), Some(End::Gone(Gone::Removed)));
    // Nobody is there to be removed; the owner stays.
    owner.hear(ClientMessage::Remove { person: PersonId(99) }).await;
    owner.hear(ClientMessage::Remove { person: owner.page.id }).await;
    assert_eq!(world.rooms.people("m").len(), 2);

    owner.hear(ClientMessage::LockDoor { locked: true }).await;
    assert_eq!(world.join_as(joining(EVE), grant_of(EVE)).await.err(), Some(Gone::Locked));
    // Whoever was here comes back, on the same page or another, and so does the owner.
    drop(bob);
    let bob = world.join(BOB).await;
    let tablet = Joining { page: page_name(99), ..joining(OWNER) };
    drop(world.join_as(tablet, grant_of(OWNER)).await.unwrap());
    owner.hear(ClientMessage::LockDoor { locked: false }).await;
    drop((bob, world.join(EVE).await));
    let noted = world.catalog.audits(None, 10).await.unwrap();
    let mut noted: Vec<&str> = noted.iter().map(|row| row.action.as_str()).collect();
    noted.reverse();
    // The owner was not removed, although that was asked for: it is noted that it was.
    assert_eq!(noted, ["person.remove", "person.remove", "door.lock", "door.open"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_end_to_how_many_come() {
    let world = World::new().await;
    let page = |n: usize| Joining { page: format!("{n:032x}"), ..joining(VIEWER) };
    let mut pages = Vec::new();
    for n in 0..people::PEOPLE_MAX {
        pages.push(world.join_as(page(n), grant_of(VIEWER)).await.unwrap());
    }
    assert_eq!(world.join_as(page(1000), grant_of(VIEWER)).await.err(), Some(Gone::Full));
    assert!(world.join_as(joining(OWNER), grant_of(OWNER)).await.is_ok());
    for bad in ["", "xyz", &"a".repeat(65), &"g".repeat(32)] {
        let joining = Joining { page: bad.into(), ..joining(ADA) };
        assert_eq!(world.join_as(joining, grant_of(ADA)).await.err(), Some(Gone::NotAdmitted));
    }
}

/// Why the server says that the page is gone, and closes, if it does so in time.
async fn gone_within(page: &mut TestPage, time: Duration) -> Option<Gone> {
    let wait = async {
        let mut reason = None;
        loop {
            match page.next().await {
                Got::Message(ServerMessage::Gone { reason: gone }) => reason = Some(gone),
                Got::Closed => return reason,
                _ => {}
            }
        }
    };
    timeout(time, wait).await.expect("the connection ends in time")
}
