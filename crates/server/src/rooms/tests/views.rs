//! Where people look, and who is led there.

use super::*;
use crate::protocol::PersonId;

fn look(at_ns: Option<u64>) -> ClientMessage {
    ClientMessage::Look { console: 0, at_ns }
}

/// The instants that a page was led to, in order.
fn led(frames: &[Frame]) -> Vec<(PersonId, Option<u64>)> {
    let of_frame = |frame: &Frame| match frame {
        Frame::Message(ServerMessage::Led { person, at_ns, .. }) => Some((*person, *at_ns)),
        _ => None,
    };
    frames.iter().filter_map(of_frame).collect()
}

fn brought(frames: &[Frame]) -> Vec<(String, Option<u64>)> {
    let of_frame = |frame: &Frame| match frame {
        Frame::Message(ServerMessage::Brought { name, at_ns, .. }) => Some((name.clone(), *at_ns)),
        _ => None,
    };
    frames.iter().filter_map(of_frame).collect()
}

/// Who looks at the past, as everybody is told.
fn looks_back(message: &ServerMessage, who: PersonId) -> Option<bool> {
    let ServerMessage::People { people } = message else { return None };
    people.iter().find(|person| person.id == who).map(|person| person.looks_back)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_somebody_is_told_where_they_look() {
    let world = World::new().await;
    let (mut ada, mut bob) = (world.join(ADA).await, world.join(BOB).await);
    let mut eve = world.join(EVE).await;
    let (id, own) = (ada.page.id, bob.page.id);
    ada.hear(look(Some(5_000))).await;
    bob.hear(ClientMessage::Follow { person: Some(id) }).await;
    bob.until(|frames| (led(frames) == [(id, Some(5_000))]).then_some(())).await;
    ada.hear(look(Some(7_000))).await;
    ada.hear(look(None)).await;
    bob.until(|frames| (led(frames).last() == Some(&(id, None))).then_some(())).await;
    // Nobody follows themselves, and who follows nobody is told nothing.
    bob.hear(ClientMessage::Follow { person: Some(own) }).await;
    bob.acknowledge();
    bob.hear(look(Some(1_000))).await;
    ada.hear(look(Some(9_000))).await;
    bob.message(|it| looks_back(it, id).filter(|back| *back)).await;
    eve.message(|it| looks_back(it, own).filter(|back| *back)).await;
    assert_eq!((led(&bob.got), led(&eve.got)), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_brought_to_where_somebody_looks() {
    let world = World::new().await;
    let (mut ada, mut bob) = (world.join(ADA).await, world.join(BOB).await);
    ada.hear(look(Some(5_000))).await;
    for count in 1..=2 {
        ada.hear(ClientMessage::Bring).await;
        bob.until(|frames| (brought(frames).len() == count).then_some(())).await;
    }
    assert_eq!(brought(&bob.got)[1], ("person 1".to_owned(), Some(5_000)));
    // Who comes later comes to what is live; and nobody brings themselves.
    let mut late = world.join(EVE).await;
    late.until(|frames| (!frames.is_empty()).then_some(())).await;
    ada.until(|frames| (!frames.is_empty()).then_some(())).await;
    assert_eq!((brought(&late.got), brought(&ada.got)), (vec![], vec![]));
}

/// The attacker is a viewer with a link that begins late.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_led_to_what_they_may_not_see() {
    let world = World::new().await;
    let mut ada = world.join(ADA).await;
    let grant = Grant { past_from_ns: 6_000, ..grant_of(VIEWER) };
    let mut viewer = world.join_as(joining(VIEWER), grant).await.unwrap();
    let id = ada.page.id;
    ada.hear(look(Some(5_000))).await;
    viewer.hear(ClientMessage::Follow { person: Some(id) }).await;
    ada.hear(ClientMessage::Bring).await;
    viewer.until(|frames| (!brought(frames).is_empty()).then_some(())).await;
    assert_eq!(led(&viewer.got), [(id, Some(6_000))]);
    assert_eq!(brought(&viewer.got)[0].1, Some(6_000));
}
