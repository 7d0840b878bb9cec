use super::*;
use axum::http::HeaderValue;
use stackvm_catalog::SqliteCatalog;
use stackvm_catalog::ids::ShareId;

async fn access() -> (tempfile::TempDir, Access, Secret) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = SqliteCatalog::open(&folder.path().join("catalog.db")).await.unwrap();
    let door = Secret::random().unwrap();
    let access = Access::new(Arc::new(catalog), &door).unwrap();
    (folder, access, door)
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_token_is_good_once_and_for_a_while() {
    let (_folder, access, _) = access().await;
    let token = access.mint(Duration::from_secs(60)).unwrap();
    for wrong in ["", "0", &token[1..], &token.to_uppercase().replace('0', "1")] {
        assert!(access.redeem(wrong).is_none(), "{wrong}");
    }
    let taken = access.redeem(&token).unwrap();
    assert!(access.redeem(&token).is_none());
    access.give_back(taken);
    assert!(access.redeem(&token).is_some());
    assert!(access.redeem(&token).is_none());
    let late = access.mint(Duration::ZERO).unwrap();
    assert!(access.redeem(&late).is_none());
    let tokens: Vec<_> =
        (0..=TOKENS_MAX).map(|_| access.mint(Duration::from_secs(60)).unwrap()).collect();
    assert!(access.redeem(&tokens[0]).is_none(), "the oldest gives way");
    assert!(access.redeem(&tokens[1]).is_some());
}

#[tokio::test]
async fn cookies_and_bearers_say_who_somebody_is() {
    let (_folder, access, door) = access().await;
    let (owner, secret) = access.begin(Role::Owner).await.unwrap();
    let (guest, bearer) = access.begin(Role::Viewer).await.unwrap();
    let cookie = access.cookie(&secret, Line::Plain);
    assert!(cookie.contains("; HttpOnly; SameSite=Strict") && !cookie.contains("Secure"));
    assert!(access.cookie(&secret, Line::Tls).ends_with("; Secure"));
    let cookie = cookie.split(';').next().unwrap();
    let bearer = format!("Bearer {}", bearer.hex());
    let check = async |pairs: &[(&'static str, &str)], expected: Option<SessionId>| {
        let found = access.visitor(&headers(pairs)).await.unwrap();
        assert_eq!(found.map(|session| session.id), expected, "{pairs:?}");
    };
    check(&[], None).await;
    check(&[("cookie", cookie)], Some(owner.id)).await;
    check(&[("cookie", &format!("theme=dark; x;{cookie}"))], Some(owner.id)).await;
    check(&[("cookie", &cookie.replace("stackvm_", "stackvm_x"))], None).await;
    check(&[("authorization", &bearer)], Some(guest.id)).await;
    // The bearer is what counts, good or not.
    check(&[("cookie", cookie), ("authorization", &bearer)], Some(guest.id)).await;
    check(&[("cookie", cookie), ("authorization", "Bearer x")], None).await;
    check(&[("cookie", cookie), ("authorization", "Basic x")], None).await;
    let door = format!("Bearer {}", door.hex());
    let found = access.visitor(&headers(&[("authorization", &door)])).await.unwrap().unwrap();
    assert!(found.owner.is_some());
}

#[tokio::test]
async fn passwords_are_kept_as_their_hash() {
    let (_folder, access, _) = access().await;
    let hash = access.hash_password("horse".to_owned()).await.unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    for (password, expected) in [("horse", true), ("Horse", false), ("", false)] {
        let is = access.is_password(password.to_owned(), hash.clone()).await.unwrap();
        assert_eq!(is, expected, "{password}");
    }
    assert!(!access.is_password(String::new(), String::new()).await.unwrap());
}

fn share(role: &str, past: Option<u64>, expires: Option<u64>, revoked: Option<u64>) -> ShareRow {
    ShareRow {
        id: ShareId::random().unwrap(),
        owner: stackvm_catalog::ids::OwnerId::random().unwrap(),
        machine: "web".to_owned(),
        role: role.to_owned(),
        label: String::new(),
        secret: Secret::random().unwrap().hash(),
        password: None,
        past_from_ns: past,
        created_unix_ms: 5,
        expires_unix_ms: expires,
        revoked_unix_ms: revoked,
        opened: 0,
        visits: None,
        visit_of: None,
        published: None,
    }
}

#[tokio::test]
async fn the_best_of_what_is_good_counts() {
    let (_folder, access, _) = access().await;
    let (guest, _) = access.begin(Role::Viewer).await.unwrap();
    let check = |shares: &[ShareRow], expected: Result<(Role, u64, u64), Gone>| {
        let grant = best(&guest, "web", shares, 100);
        let grant = grant.map(|it| (it.role, it.past_from_ns, it.past_from_unix_ms));
        assert_eq!(grant, expected, "{shares:?}");
    };
    let viewer = || share("viewer", Some(7), None, None);
    check(&[], Err(Gone::NotAdmitted));
    check(&[viewer()], Ok((Role::Viewer, 7, 5)));
    check(&[viewer(), share("driver", Some(9), None, None)], Ok((Role::Driver, 9, 5)));
    check(&[viewer(), share("viewer", None, None, None)], Ok((Role::Viewer, 0, 0)));
    check(&[viewer(), share("driver", None, Some(100), None)], Ok((Role::Viewer, 7, 5)));
    check(&[viewer(), share("driver", None, None, Some(1))], Ok((Role::Viewer, 7, 5)));
    check(&[share("driver", None, Some(100), None)], Err(Gone::Expired));
    check(&[share("driver", None, Some(101), None)], Ok((Role::Driver, 0, 0)));
    check(&[share("driver", None, Some(1), Some(1))], Err(Gone::Revoked));
    check(&[share("emperor", None, None, None)], Err(Gone::NotAdmitted));
    let elsewhere = ShareRow { machine: "other".to_owned(), ..viewer() };
    check(&[elsewhere], Err(Gone::NotAdmitted));
}
