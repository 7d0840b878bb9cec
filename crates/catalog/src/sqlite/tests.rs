use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::ids::Secret;
use crate::rows::{Publication, VisitLimits};

async fn catalog() -> (tempfile::TempDir, SqliteCatalog) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = SqliteCatalog::open(&folder.path().join("catalog.db")).await.unwrap();
    (folder, catalog)
}

async fn count(catalog: &SqliteCatalog, table: &'static str) -> i64 {
    let query = match table {
        "sessions" => "SELECT COUNT(*) FROM sessions",
        "shares" => "SELECT COUNT(*) FROM shares",
        "grants" => "SELECT COUNT(*) FROM grants",
        "answers" => "SELECT COUNT(*) FROM answers",
        other => panic!("{other}"),
    };
    sqlx::query(query).fetch_one(&catalog.pool).await.unwrap().try_get(0).unwrap()
}

fn share(catalog: &SqliteCatalog, machine: &str, created_unix_ms: u64) -> ShareRow {
    ShareRow {
        id: ShareId::random().unwrap(),
        owner: catalog.owner(),
        machine: machine.to_owned(),
        role: "driver".to_owned(),
        label: "for the course".to_owned(),
        secret: Secret::random().unwrap().hash(),
        password: Some("$argon2id$…".to_owned()),
        past_from_ns: Some(5),
        created_unix_ms,
        expires_unix_ms: Some(created_unix_ms + 1000),
        revoked_unix_ms: None,
        opened: 0,
        visits: None,
        visit_of: None,
        published: None,
    }
}

fn session(owner: Option<OwnerId>, seen_unix_ms: u64) -> SessionRow {
    SessionRow {
        id: SessionId::random().unwrap(),
        secret: Secret::random().unwrap().hash(),
        owner,
        name: "Amber Fox".to_owned(),
        hue: 3,
        created_unix_ms: 1,
        seen_unix_ms,
    }
}

fn audit_row(action: &str) -> AuditRow {
    AuditRow {
        id: 0,
        at_unix_ms: 7,
        actor: "owner".to_owned(),
        action: action.to_owned(),
        subject: "web".to_owned(),
        detail: String::new(),
    }
}

fn said(text: &str, at_unix_ms: u64) -> SaidRow {
    let instant_ns = Some(9);
    SaidRow { id: 0, name: "Ann".to_owned(), hue: 1, text: text.to_owned(), at_unix_ms, instant_ns }
}

#[tokio::test]
async fn it_is_the_same_after_it_was_closed() {
    let (folder, catalog) = catalog().await;
    let path = folder.path().join("catalog.db");
    let link = share(&catalog, "web", 10);
    let browser = session(Some(catalog.owner()), 20);
    catalog.add_share(&link).await.unwrap();
    catalog.add_session(&browser).await.unwrap();
    catalog.grant(browser.id, link.id).await.unwrap();
    let identity = (catalog.instance().to_owned(), catalog.owner());
    catalog.close().await;

    let catalog = SqliteCatalog::open(&path).await.unwrap();
    assert_eq!((catalog.instance().to_owned(), catalog.owner()), identity);
    assert_eq!(catalog.session(browser.secret).await.unwrap(), Some(browser.clone()));
    assert_eq!(catalog.grants(browser.id).await.unwrap(), std::slice::from_ref(&link));
    assert_eq!(catalog.share(link.id).await.unwrap(), Some(link));
}

#[tokio::test]
async fn visitors_are_known_by_the_link_they_came_by() {
    let (_folder, catalog) = catalog().await;
    let limits = VisitLimits { visitors: 2, minutes: 30, cpu_percent: 50, memory_mib: Some(64) };
    let link = ShareRow { visits: Some(limits), ..share(&catalog, "moment", 1) };
    let [first, second] = [("ann", 3), ("bob", 2)]
        .map(|(machine, at)| ShareRow { visit_of: Some(link.id), ..share(&catalog, machine, at) });
    for row in [&link, &first, &second] {
        catalog.add_share(row).await.unwrap();
    }
    assert_eq!(catalog.share(link.id).await.unwrap(), Some(link));
    assert_eq!(catalog.visits().await.unwrap(), [second.clone(), first.clone()]);
    catalog.revoke_share(second.id, 5).await.unwrap();
    let revoked = ShareRow { revoked_unix_ms: Some(5), ..second };
    assert_eq!(catalog.visits().await.unwrap(), [revoked, first.clone()], "its machine is there");
    catalog.forget_machine("bob").await.unwrap();
    assert_eq!(catalog.visits().await.unwrap(), [first]);
}

#[tokio::test]
async fn what_is_published_is_listed_until_it_is_revoked() {
    let (_folder, catalog) = catalog().await;
    let how = Publication {
        title: "A lesson".to_owned(),
        description: "'quoted'; -- and more".to_owned(),
        tags: vec!["nginx".to_owned()],
        listed: false,
    };
    let link = ShareRow { published: Some(how.clone()), ..share(&catalog, "lesson", 1) };
    catalog.add_share(&link).await.unwrap();
    catalog.add_share(&share(&catalog, "other", 2)).await.unwrap();
    assert_eq!(catalog.published().await.unwrap(), std::slice::from_ref(&link));
    let changed = Publication { listed: true, ..how };
    catalog.publish(link.id, "driver", &changed).await.unwrap();
    let link = ShareRow { role: "driver".to_owned(), published: Some(changed), ..link };
    assert_eq!(catalog.share(link.id).await.unwrap(), Some(link.clone()));
    catalog.revoke_share(link.id, 5).await.unwrap();
    assert_eq!(catalog.published().await.unwrap(), []);
}

#[tokio::test]
async fn nobody_else_on_this_computer_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let catalog = SqliteCatalog::open(&path).await.unwrap();
    catalog.audit(&audit_row("a")).await.unwrap();
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 2, "a file and its log");
    for file in files {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_newer_one_and_a_broken_one_are_left_alone() {
    let (folder, catalog) = catalog().await;
    let path = folder.path().join("catalog.db");
    sqlx::query("INSERT INTO migrations (version) VALUES (99)")
        .execute(&catalog.pool)
        .await
        .unwrap();
    catalog.close().await;
    let error = SqliteCatalog::open(&path).await.err().unwrap();
    assert!(matches!(error, CatalogError::Newer { found: 99, known: 4, .. }), "{error}");

    let broken = folder.path().join("broken.db");
    let text = "this is no database, and long enough to be seen as something ".repeat(20);
    fs::write(&broken, &text).unwrap();
    let error = SqliteCatalog::open(&broken).await.err().unwrap();
    assert!(error.to_string().contains("broken.db"), "{error}");
    assert_eq!(fs::read_to_string(&broken).unwrap(), text);
}

#[tokio::test]
async fn of_two_changes_of_a_machine_the_second_is_stale() {
    let (_folder, catalog) = catalog().await;
    assert_eq!(catalog.machine("web").await.unwrap(), MachineRow::default());
    let mut row = MachineRow {
        notes: "for \"Ann\"; DROP TABLE machines".to_owned(),
        tags: vec!["a, b".to_owned(), "ü".to_owned()],
        clipboard: true,
        version: 0,
    };
    assert_eq!(catalog.set_machine("web", &row).await.unwrap(), 1);
    let error = catalog.set_machine("web", &row).await.unwrap_err();
    assert!(matches!(error, CatalogError::Stale { expected: 0, found: 1 }), "{error}");
    row.version = 1;
    assert_eq!(catalog.machine("web").await.unwrap(), row);
    assert_eq!(catalog.set_machine("web", &row).await.unwrap(), 2);
    let machines = catalog.machines().await.unwrap();
    assert_eq!(machines.len(), 1);
    assert_eq!((machines[0].0.as_str(), machines[0].1.version), ("web", 2));
}

#[tokio::test]
async fn a_machines_row_has_limits() {
    async fn check(row: MachineRow, expected: Option<&str>) {
        let (_folder, catalog) = catalog().await;
        let error = catalog.set_machine("web", &row).await.err().map(|error| error.to_string());
        match expected {
            Some(text) => assert!(error.as_ref().is_some_and(|e| e.contains(text)), "{error:?}"),
            None => assert_eq!(error, None),
        }
    }
    let notes = |bytes| MachineRow { notes: "n".repeat(bytes), ..MachineRow::default() };
    let tags = |tags: Vec<String>| MachineRow { tags, ..MachineRow::default() };
    check(notes(limits::NOTES_BYTES_MAX), None).await;
    check(notes(limits::NOTES_BYTES_MAX + 1), Some("the notes")).await;
    check(tags(vec!["t".repeat(limits::TAG_BYTES_MAX); limits::TAGS_MAX]), None).await;
    check(tags(vec!["t".repeat(limits::TAG_BYTES_MAX + 1)]), Some("a tag")).await;
    check(tags(vec![String::new(); limits::TAGS_MAX + 1]), Some("16 tags")).await;
}

#[tokio::test]
async fn links_are_opened_counted_and_revoked_once() {
    let (_folder, catalog) = catalog().await;
    let (old, new) = (share(&catalog, "web", 10), share(&catalog, "web", 20));
    for link in [&old, &new, &share(&catalog, "other", 30)] {
        catalog.add_share(link).await.unwrap();
    }
    assert_eq!(catalog.shares("web").await.unwrap(), [new.clone(), old.clone()]);
    catalog.count_opening(old.id).await.unwrap();
    assert!(catalog.revoke_share(old.id, 40).await.unwrap());
    assert!(!catalog.revoke_share(old.id, 50).await.unwrap());
    let there = catalog.share(old.id).await.unwrap().unwrap();
    assert_eq!((there.opened, there.revoked_unix_ms), (1, Some(40)));
    let unknown = ShareId::random().unwrap();
    assert!(!catalog.revoke_share(unknown, 40).await.unwrap());
    catalog.count_opening(unknown).await.unwrap();
    assert_eq!(catalog.share(unknown).await.unwrap(), None);
}

#[tokio::test]
async fn good_links_have_a_limit_and_old_ones_are_forgotten() {
    let (_folder, catalog) = catalog().await;
    // Those that are over count for another limit: the first of these is forgotten at the end.
    let first = ShareRow { expires_unix_ms: Some(1), ..share(&catalog, "web", 0) };
    catalog.add_share(&first).await.unwrap();
    for at in 1..=limits::SHARES_OVER_MAX {
        let over = ShareRow { expires_unix_ms: Some(at), ..share(&catalog, "web", at) };
        catalog.add_share(&over).await.unwrap();
    }
    for _ in 0..limits::SHARES_MAX {
        let good = ShareRow { expires_unix_ms: None, ..share(&catalog, "web", 5000) };
        catalog.add_share(&good).await.unwrap();
    }
    let error = catalog.add_share(&share(&catalog, "web", 5000)).await.unwrap_err();
    assert!(matches!(error, CatalogError::TooMany { what: "links", max: 1000 }), "{error}");
    assert_eq!(catalog.share(first.id).await.unwrap(), None);
    assert_eq!(count(&catalog, "shares").await, 2000);
}

#[tokio::test]
async fn a_session_is_found_by_its_secret_until_it_ends() {
    let (_folder, catalog) = catalog().await;
    let guest = session(None, 10);
    catalog.add_session(&guest).await.unwrap();
    catalog.name_session(guest.id, "Grace", 7).await.unwrap();
    catalog.promote_session(guest.id, catalog.owner()).await.unwrap();
    let there = catalog.session(guest.secret).await.unwrap().unwrap();
    assert_eq!((there.name.as_str(), there.hue), ("Grace", 7));
    assert_eq!(there.owner, Some(catalog.owner()));

    let hour = 3600 * 1000;
    for (now, seen) in [(20, 10), (hour, 10), (hour + 11, hour + 11), (11, hour + 11)] {
        catalog.see_session(guest.id, now).await.unwrap();
        let there = catalog.session(guest.secret).await.unwrap().unwrap();
        assert_eq!(there.seen_unix_ms, seen, "at {now}");
    }
    catalog.end_session(guest.id).await.unwrap();
    assert_eq!(catalog.session(guest.secret).await.unwrap(), None);
}

#[tokio::test]
async fn the_session_that_was_away_for_longest_gives_way() {
    let (_folder, catalog) = catalog().await;
    let mut transaction = catalog.begin().await.unwrap();
    for seen in 0..limits::SESSIONS_MAX {
        let row = session(None, seen);
        sqlx::query("INSERT INTO sessions VALUES ($1, $2, NULL, '', 0, 0, $3)")
            .bind(row.id.to_string())
            .bind(hex(&row.secret.0))
            .bind(signed(seen))
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    let new = session(None, 1_000_000);
    catalog.add_session(&new).await.unwrap();
    assert_eq!(count(&catalog, "sessions").await, signed(limits::SESSIONS_MAX));
    assert!(catalog.session(new.secret).await.unwrap().is_some());
    let oldest = sqlx::query("SELECT MIN(seen_unix_ms) FROM sessions");
    let oldest: i64 = oldest.fetch_one(&catalog.pool).await.unwrap().try_get(0).unwrap();
    assert_eq!(oldest, 1);
}

#[tokio::test]
async fn grants_end_with_the_session_and_with_the_machine() {
    let (_folder, catalog) = catalog().await;
    let (ann, ben) = (session(None, 1), session(None, 2));
    let (web, other) = (share(&catalog, "web", 10), share(&catalog, "other", 20));
    for row in [&ann, &ben] {
        catalog.add_session(row).await.unwrap();
    }
    for row in [&web, &other] {
        catalog.add_share(row).await.unwrap();
        catalog.grant(ann.id, row.id).await.unwrap();
        catalog.grant(ben.id, row.id).await.unwrap();
        catalog.grant(ben.id, row.id).await.unwrap();
    }
    let ids = async |session| -> BTreeSet<ShareId> {
        catalog.grants(session).await.unwrap().into_iter().map(|share| share.id).collect()
    };
    assert_eq!(ids(ben.id).await, BTreeSet::from([web.id, other.id]));
    catalog.ungrant(ben.id, web.id).await.unwrap();
    assert_eq!(ids(ben.id).await, BTreeSet::from([other.id]));
    catalog.say("other", &said("hello", 1)).await.unwrap();
    catalog.forget_machine("other").await.unwrap();
    assert_eq!(ids(ben.id).await, BTreeSet::new());
    assert_eq!(ids(ann.id).await, BTreeSet::from([web.id]));
    assert_eq!(catalog.said("other", 0, 0, 10).await.unwrap(), []);
    catalog.end_session(ann.id).await.unwrap();
    assert_eq!(count(&catalog, "grants").await, 0);
    // Too late: what they want to open, or who wants to, is not there any more.
    catalog.grant(ann.id, web.id).await.unwrap();
    catalog.grant(ben.id, other.id).await.unwrap();
    assert_eq!(count(&catalog, "grants").await, 0);
}

#[tokio::test]
async fn what_was_done_is_told_newest_first_in_parts() {
    let (_folder, catalog) = catalog().await;
    for action in ["a", "b", "c"] {
        catalog.audit(&audit_row(action)).await.unwrap();
    }
    let actions = async |before, limit| -> Vec<(u64, String)> {
        let rows = catalog.audits(before, limit).await.unwrap();
        rows.into_iter().map(|row| (row.id, row.action)).collect()
    };
    assert_eq!(actions(None, 2).await, [(3, "c".to_owned()), (2, "b".to_owned())]);
    assert_eq!(actions(Some(2), 2).await, [(1, "a".to_owned())]);
    assert_eq!(actions(Some(0), 2).await, []);
    // As after a million more.
    sqlx::query("UPDATE audit SET id = id + $1 WHERE id = 3")
        .bind(signed(limits::AUDIT_MAX) - 2)
        .execute(&catalog.pool)
        .await
        .unwrap();
    catalog.audit(&audit_row("d")).await.unwrap();
    let left: Vec<u64> = actions(None, 10).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(left, [limits::AUDIT_MAX + 2, limits::AUDIT_MAX + 1]);
}

#[tokio::test]
async fn the_latest_of_what_was_said_is_told_in_order() {
    let (_folder, catalog) = catalog().await;
    for number in 1..=limits::SAID_MAX + 2 {
        let id = catalog.say("web", &said(&format!("line {number}"), number)).await.unwrap();
        assert_eq!(id, number);
    }
    assert_eq!(catalog.say("other", &said("elsewhere", 1)).await.unwrap(), 1);
    let ids = async |after, since, limit| -> Vec<u64> {
        let rows = catalog.said("web", after, since, limit).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    };
    assert_eq!(ids(0, 0, 3).await, [1000, 1001, 1002]);
    assert_eq!(ids(1001, 0, 3).await, [1002]);
    assert_eq!(ids(0, 1001, 200).await, [1001, 1002]);
    assert_eq!(ids(0, 0, 5000).await.first(), Some(&3), "older ones are forgotten");
    let last = catalog.said("web", 1001, 0, 1).await.unwrap();
    assert_eq!(last, [SaidRow { id: 1002, ..said("line 1002", 1002) }]);
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day() {
    let (_folder, catalog) = catalog().await;
    let (ann, ben) = (SessionId::random().unwrap(), SessionId::random().unwrap());
    let answer = AnswerRow { request: [7; 32], status: 201, body: b"{\"a\":1}\xff".to_vec() };
    let other = AnswerRow { status: 409, ..answer.clone() };
    catalog.keep_answer(ann, "k", &answer, 0).await.unwrap();
    catalog.keep_answer(ann, "k", &other, 1).await.unwrap();
    assert_eq!(catalog.answer(ann, "k").await.unwrap(), Some(answer.clone()));
    assert_eq!(catalog.answer(ben, "k").await.unwrap(), None);
    catalog.keep_answer(ben, "k", &other, limits::ANSWERS_MS).await.unwrap();
    assert_eq!(catalog.answer(ann, "k").await.unwrap(), Some(answer.clone()));
    catalog.keep_answer(ben, "l", &other, limits::ANSWERS_MS + 1).await.unwrap();
    assert_eq!(catalog.answer(ann, "k").await.unwrap(), None);

    let now = 2 * limits::ANSWERS_MS;
    for number in 0..limits::ANSWERS_MAX + 5 {
        let key = number.to_string();
        catalog.keep_answer(ann, &key, &answer, now + number).await.unwrap();
    }
    catalog.keep_answer(ben, "k", &other, now).await.unwrap();
    assert_eq!(count(&catalog, "answers").await, signed(limits::ANSWERS_MAX) + 1);
    assert_eq!(catalog.answer(ann, "4").await.unwrap(), None);
    assert_eq!(catalog.answer(ann, "5").await.unwrap(), Some(answer));
}

#[tokio::test]
async fn twenty_at_once_lose_nothing() {
    let (_folder, catalog) = catalog().await;
    let catalog = std::sync::Arc::new(catalog);
    let tasks = (0..20).map(|_| {
        let catalog = catalog.clone();
        tokio::spawn(async move { catalog.say("web", &said("hello", 1)).await.unwrap() })
    });
    let mut ids = BTreeSet::new();
    for task in tasks.collect::<Vec<_>>() {
        ids.insert(task.await.unwrap());
    }
    assert_eq!(ids, (1..=20).collect());
}

#[tokio::test]
async fn what_was_settled_about_people_is_kept_until_they_or_the_machine_go() {
    let (_folder, catalog) = catalog().await;
    assert_eq!(catalog.room("web").await.unwrap(), RoomRow::default());
    let (ada, bob) = (session(None, 1), session(None, 1));
    for guest in [&ada, &bob] {
        catalog.add_session(guest).await.unwrap();
    }
    let settled = RoomRow {
        keyboard_mode: "passed".to_owned(),
        keyboard_locked: true,
        muted: BTreeSet::from([bob.id]),
        admitted: Some(BTreeSet::from([ada.id, bob.id])),
    };
    catalog.set_room("web", &settled).await.unwrap();
    catalog.set_room("other", &RoomRow::default()).await.unwrap();
    assert_eq!(catalog.room("web").await.unwrap(), settled);
    // A door may be locked with nobody behind it; an open one is another thing.
    let alone = RoomRow { admitted: Some(BTreeSet::new()), ..RoomRow::default() };
    catalog.set_room("other", &alone).await.unwrap();
    assert_eq!(catalog.room("other").await.unwrap(), alone);
    catalog.end_session(bob.id).await.unwrap();
    let left = RoomRow {
        muted: BTreeSet::new(),
        admitted: Some(BTreeSet::from([ada.id])),
        ..settled.clone()
    };
    assert_eq!(catalog.room("web").await.unwrap(), left);
    // Whoever has ended meanwhile is left out.
    catalog.set_room("web", &settled).await.unwrap();
    assert_eq!(catalog.room("web").await.unwrap(), left);
    catalog.forget_machine("web").await.unwrap();
    assert_eq!(catalog.room("web").await.unwrap(), RoomRow::default());
    assert_eq!(catalog.room("other").await.unwrap(), alone);
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_no_end() {
    let (_folder, catalog) = catalog().await;
    let pages: i64 =
        sqlx::query("PRAGMA page_count").fetch_one(&catalog.pool).await.unwrap().get(0);
    let limit = async |pages: i64| {
        let pragma = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::raw_sql(pragma).execute(&catalog.pool).await.unwrap();
    };
    limit(pages).await;
    let large = MachineRow { notes: "x".repeat(limits::NOTES_BYTES_MAX), ..MachineRow::default() };
    let error = catalog.set_machine("web", &large).await.unwrap_err();
    assert!(matches!(error, CatalogError::Database { .. }), "{error}");
    assert!(error.to_string().contains("free space"), "{error}");
    assert_eq!(catalog.machine("web").await.unwrap(), MachineRow::default());
    limit(1 << 30).await;
    assert_eq!(catalog.set_machine("web", &large).await.unwrap(), 1);
}

#[tokio::test]
async fn an_older_catalog_becomes_a_present_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let old = SqlitePool::connect_with(options).await.unwrap();
    for sql in [
        include_str!("../../migrations/1.sql"),
        "CREATE TABLE migrations (version BIGINT NOT NULL PRIMARY KEY)",
        "INSERT INTO migrations (version) VALUES (1)",
        "INSERT INTO catalog (instance, owner) VALUES ('i', '0123456789abcdef')",
    ] {
        sqlx::raw_sql(sql).execute(&old).await.unwrap();
    }
    old.close().await;
    let catalog = SqliteCatalog::open(&path).await.unwrap();
    assert_eq!(catalog.instance(), "i");
    let locked = RoomRow { keyboard_locked: true, ..RoomRow::default() };
    catalog.set_room("web", &locked).await.unwrap();
    assert_eq!(catalog.room("web").await.unwrap(), locked);
}
