//! What pages are shown of a terminal's output, and what they are not.

use super::*;

/// How much of all that was written a page has, by its picture and what followed.
fn drawn_in(frames: &[Frame]) -> usize {
    let drawn = frames.iter().find_map(picture_of).map_or(0, |(_, drawn)| drawn.parse().unwrap());
    drawn + output_of(frames).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_followed_by_output_from_exactly_there() {
    let world = World::new().await;
    world.lab.write(b"before ");
    let mut early = world.join(ADA).await;
    let (_, drawn) = early.watch().await;
    assert_eq!(drawn, "7");
    world.lab.write(b"after");
    assert_eq!(early.output(5).await, b"after");
    let mut late = world.join(BOB).await;
    late.watch().await;
    world.lab.write(b"!");
    late.until(|frames| (drawn_in(frames) == 13).then_some(())).await;
    assert_eq!(early.output(6).await, b"after!");
    // People with the same right share a picture while it is fresh.
    assert!(world.lab.known().looks.len() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_gets_only_what_it_missed() {
    let world = World::new().await;
    let mut other = world.join(BOB).await;
    other.watch().await;
    world.lab.write(b"early");
    other.output(5).await;
    let ada = Grant { past_from_ns: 1000, ..grant_of(ADA) };
    let mut page = world.join_as(joining(ADA), ada.clone()).await.unwrap();
    let (start, _) = page.watch().await;
    world.lab.write(b"seen ");
    page.output(5).await;
    drop(page);
    world.lab.write(b"missed");
    other.output(16).await;
    let back = async |grant: &Grant, page: Joining, run: &str, position: u64| {
        let seen = BTreeMap::from([(0, position)]);
        let joining = Joining { run: Some(run.into()), seen, ..page };
        world.join_as(joining, grant.clone()).await.unwrap()
    };
    let mut page = back(&ada, joining(ADA), "r1", start + 5).await;
    assert_eq!(page.output(6).await, b"missed");
    assert!(!page.got.iter().any(|frame| picture_of(frame).is_some()));
    drop(page);

    // The attacker is somebody with a link who claims to have seen what was before their right: on
    // a page that was never here, on this page before its picture, in the future.
    for (who, position) in [(EVE, start + 5), (ADA, start - 1), (ADA, u64::MAX)] {
        let mut page = back(&ada, joining(who), "r1", position).await;
        page.until(|frames| (drawn_in(frames) == 16).then_some(())).await;
        let first = page.got.iter().find(|frame| matches!(frame, Frame::Terminal(_))).unwrap();
        assert!(picture_of(first).is_some(), "{who} {position}");
    }
    // Positions of another run say nothing; the page watches again.
    let mut page = back(&ada, joining(ADA), "r0", start + 5).await;
    page.watch().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_to_the_past_goes_to_the_lab() {
    let world = World::new().await;
    let grant = Grant { past_from_ns: 5_000, ..grant_of(VIEWER) };
    let mut viewer = world.join_as(joining(VIEWER), grant).await.unwrap();
    viewer.watch().await;
    world.join(OWNER).await.watch().await;
    let looks: Vec<(u64, u32)> =
        world.lab.known().looks.iter().map(|(_, since, lines)| (*since, *lines)).collect();
    assert_eq!(looks, [(80_000, 1000), (0, 1000)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lab_that_comes_back_is_drawn_anew() {
    let world = World::new().await;
    let mut page = world.join(ADA).await;
    page.watch().await;
    world.lab.write(b"lost");
    page.output(4).await;
    world.lab.hang_up();
    let pictures = |frames: &[Frame]| frames.iter().filter_map(picture_of).nth(1);
    assert_eq!(page.until(pictures).await.1, "4");
    world.lab.write(b"new");
    page.until(|frames| output_of(frames).ends_with(b"new").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_small_picture_is_made_while_somebody_looks() {
    let world = World::new().await;
    world.lab.known().text = vec!["$ ls".into(), "a b".into(), String::new()];
    world.lab.write(b"x");
    let mut changes = world.rooms.changes();
    let wait = async {
        while world.rooms.screen("m") != ["$ ls", "a b"] {
            changes.recv().await.unwrap();
        }
    };
    timeout(PATIENCE, wait).await.expect("the small picture");
    assert!(world.lab.known().texts <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_nobody_has_watched_is_attached_by_the_first() {
    let world = World::new().await;
    let mut page = world.join(OWNER).await;
    page.hear(ClientMessage::Watch { console: 1 }).await;
    let drawn = |frame: &Frame| matches!(frame, Frame::Terminal(it) if it[..2] == [1, 1]);
    page.until(|frames| frames.iter().any(drawn).then_some(())).await;
}
