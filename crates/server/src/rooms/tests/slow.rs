//! Pages that read slowly, or not at all, while a machine writes without end.

use super::*;
use console::Past;
use page::WINDOW_BYTES;
use socket::{Got, TestPage, TestServer};
use stream::STREAM_BYTES;

const SLOW_PAGES: u8 = 20;
const FLOOD_BYTES: usize = 64 << 20;
/// Most that the server may grow by meanwhile, labs and pages of the test included.
const GROWTH_BYTES: usize = 48 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn slow_viewers_cost_no_memory_and_hold_up_nobody() {
    let world = World::new().await;
    let server = TestServer::start(world.rooms.clone()).await;
    let mut slow = Vec::new();
    for n in 0..SLOW_PAGES {
        let who = VIEWER + n;
        let mut page = TestPage::open(server.addr, who, &page_name(who)).await;
        page.say(&ClientMessage::Watch { console: 0 }).await;
        while !matches!(page.next().await, Got::Terminal) {}
        slow.push(page);
    }
    let mut driver = world.join(ADA).await;
    driver.watch().await;
    let before = resident_bytes();
    let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut longest = Duration::ZERO;
    let piece = vec![b'y'; 16 << 10];
    while written.load(std::sync::atomic::Ordering::Relaxed) < FLOOD_BYTES {
        for _ in 0..64 {
            world.lab.write(&piece);
            written.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
        }
        for page in &mut slow {
            let _ = timeout(Duration::from_micros(10), page.sip(1024)).await;
        }
        let start = Instant::now();
        let number = driver.type_text("x");
        driver.applied(number).await;
        longest = longest.max(start.elapsed());
        driver.acknowledge();
    }
    let grown = resident_bytes().saturating_sub(before);
    eprintln!("grown by {} KiB, longest wait for a key {longest:?}", grown >> 10);
    assert!(grown < GROWTH_BYTES, "{grown} bytes more");
    assert!(longest < Duration::from_secs(2), "{longest:?} for a key");
    world.lab.write(b"the end");
    driver.until(|frames| output_of(frames).ends_with(b"the end").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_missed_something_gets_a_picture_instead_of_a_gap() {
    let world = World::new().await;
    let mut page = world.join(VIEWER).await;
    page.watch().await;
    page.got.clear();
    // It takes what its window allows, and then nothing.
    let piece = vec![b'x'; 32 << 10];
    let mut sent = 0;
    while sent < 2 * WINDOW_BYTES as usize {
        world.lab.write(&piece);
        sent += piece.len();
        let taken = page.output(sent.min(WINDOW_BYTES as usize)).await;
        assert_eq!(taken.len(), sent.min(WINDOW_BYTES as usize));
    }
    page.got.clear();
    page.hear(ClientMessage::Drawn { console: 0, position: u64::MAX }).await;
    assert_eq!(page.picture().await.1, sent.to_string());
    world.lab.write(b"!");
    page.until(|frames| output_of(frames).ends_with(b"!").then_some(())).await;
    let kept = world.rooms.room("m").unwrap().look(|inner| {
        let past = Past { since_ticks: 0, lines_max: 1000 };
        (inner.consoles[0].picture(past).is_some(), inner.consoles[0].stream.end().position)
    });
    assert!(kept.0 && kept.1 > STREAM_BYTES as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_floods_waits_and_others_do_not() {
    let world = World::new().await;
    let server = TestServer::start(world.rooms.clone()).await;
    let mut flood = TestPage::open(server.addr, ADA, &page_name(ADA)).await;
    let mut other = world.join(BOB).await;
    let flooding = tokio::spawn(async move {
        let mut number = 0;
        loop {
            number += 1;
            if !flood.type_key(InputNumber(number), &[b'x'; 1000]).await {
                return;
            }
        }
    });
    let room = world.rooms.room("m").unwrap();
    for _ in 0..50 {
        let number = other.type_text("y");
        other.applied(number).await;
        let most = room.look(|inner| inner.people.iter().map(|it| it.pending.len()).max());
        assert!(most.unwrap() <= 256, "{most:?}");
    }
    flooding.abort();
}

/// Bytes of this process in memory.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
