//! Who somebody is, and what they are to a machine: one-time tokens, which the owner carries in a
//! link; sessions, which a browser carries in a cookie and programs and frames on other sites as a
//! bearer; and the [`Grant`] that follows from both.
//!
//! Tokens live in memory, sessions in the catalog: a browser that is in stays in when the server is
//! started again. What a role may do is `rights`'.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use axum::http::{HeaderMap, header};
use stackvm_catalog::ids::{Secret, SecretHash, SessionId};
use stackvm_catalog::rows::{SessionRow, ShareRow};
use stackvm_catalog::{Catalog, CatalogError};
use tokio::sync::Semaphore;

use crate::clock::unix_ms;
use crate::grant::Grant;
use crate::problem::Problem;
use crate::protocol::Gone;
use crate::rights::Role;
use crate::rooms::names;

/// Links given out and not yet used; a further one makes the oldest void.
const TOKENS_MAX: usize = 16;
/// A session that nobody used for so long is over.
const SESSION_MS: u64 = 90 * 24 * 3600 * 1000;
/// Passwords that are hashed at once: each takes 19 MiB for a moment.
const HASHES_MAX: usize = 2;

/// Tokens and sessions of one server.
pub(crate) struct Access {
    catalog: Arc<dyn Catalog>,
    cookie_name: String,
    tokens: Mutex<VecDeque<Token>>,
    /// The owner's programs on this computer; its secret is in a file that only they can read.
    door: (SecretHash, SessionRow),
    hashes: Semaphore,
}

/// A link's one-time half.
pub(crate) struct Token {
    hash: SecretHash,
    ends: Instant,
}

impl Access {
    /// `door`: what the owner's programs on this computer present.
    pub(crate) fn new(
        catalog: Arc<dyn Catalog>,
        door: &Secret,
    ) -> Result<Access, getrandom::Error> {
        let now = unix_ms();
        let session = SessionRow {
            id: SessionId::random()?,
            secret: door.hash(),
            owner: Some(catalog.owner()),
            name: "Owner".to_owned(),
            hue: 0,
            created_unix_ms: now,
            seen_unix_ms: now,
        };
        // Browsers keep cookies by host name and ignore the port: the name tells several servers
        // on one host apart.
        let cookie_name = format!("stackvm_{}", catalog.instance());
        let hashes = Semaphore::new(HASHES_MAX);
        Ok(Access {
            catalog,
            cookie_name,
            tokens: Mutex::default(),
            door: (door.hash(), session),
            hashes,
        })
    }

    /// A new token, in hexadecimal, that is good once and for so long.
    pub(crate) fn mint(&self, lifetime: Duration) -> Result<String, getrandom::Error> {
        let secret = Secret::random()?;
        let mut tokens = self.lock();
        tokens.push_back(Token { hash: secret.hash(), ends: Instant::now() + lifetime });
        if tokens.len() > TOKENS_MAX {
            tokens.pop_front();
        }
        Ok(secret.hex())
    }

    /// Takes a token, which is void from now on, if there is one like it.
    pub(crate) fn redeem(&self, token: &str) -> Option<Token> {
        let (hash, now) = (SecretHash::of(token), Instant::now());
        let mut tokens = self.lock();
        tokens.retain(|token| token.ends > now);
        let place = tokens.iter().position(|token| token.hash == hash);
        place.and_then(|place| tokens.remove(place))
    }

    /// Makes a token good again that nobody came in by after all.
    pub(crate) fn give_back(&self, token: Token) {
        self.lock().push_back(token);
    }

    /// Who sends a request with these headers. Where there is a bearer, cookies do not count: a
    /// frame on another site must not become more than it was given.
    pub(crate) async fn visitor(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<SessionRow>, CatalogError> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let bearer = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
            return match bearer {
                Some(secret) => self.bearer(secret).await,
                None => Ok(None),
            };
        }
        for secret in self.cookies(headers) {
            if let Some(session) = self.known(SecretHash::of(secret)).await? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// Whose bearer this is.
    pub(crate) async fn bearer(&self, secret: &str) -> Result<Option<SessionRow>, CatalogError> {
        let hash = SecretHash::of(secret);
        if hash == self.door.0 {
            return Ok(Some(self.door.1.clone()));
        }
        self.known(hash).await
    }

    /// Whether these are the owner's programs on this computer: no row of the catalog has them.
    pub(crate) fn is_door(&self, session: &SessionRow) -> bool {
        session.id == self.door.1.id
    }

    /// A new session, and its secret; an owner's or a guest's.
    pub(crate) async fn begin(&self, whose: Role) -> Result<(SessionRow, Secret), Problem> {
        let secret = Secret::random()?;
        let (name, hue) = names::propose(getrandom::u64()?);
        let now = unix_ms();
        let session = SessionRow {
            id: SessionId::random()?,
            secret: secret.hash(),
            owner: (whose == Role::Owner).then(|| self.catalog.owner()),
            name,
            hue,
            created_unix_ms: now,
            seen_unix_ms: now,
        };
        self.catalog.add_session(&session).await?;
        Ok((session, secret))
    }

    /// What makes a browser present a secret from now on; one that came over TLS does not go out
    /// without.
    pub(crate) fn cookie(&self, secret: &Secret, line: Line) -> String {
        self.set_cookie(&secret.hex(), SESSION_MS / 1000, line)
    }

    /// What makes a browser forget it.
    pub(crate) fn no_cookie(&self, line: Line) -> String {
        self.set_cookie("", 0, line)
    }

    /// What a session is to a machine that was made then; else why it is nothing to it. Links that
    /// are older than the machine were to another one of its name.
    pub(crate) async fn grant(
        &self,
        session: &SessionRow,
        machine: &str,
        made_unix_ms: u64,
    ) -> Result<Result<Grant, Gone>, CatalogError> {
        if session.owner.is_some() {
            return Ok(Ok(owners(session, machine)));
        }
        let mut shares = self.catalog.grants(session.id).await?;
        shares.retain(|share| share.created_unix_ms >= made_unix_ms);
        Ok(best(session, machine, &shares, unix_ms()))
    }

    /// The PHC string of a password.
    pub(crate) async fn hash_password(&self, password: String) -> Result<String, Problem> {
        let hash = self.hashing(move || {
            Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string())
        });
        hash.await?.map_err(|error| Problem::unavailable(&error))
    }

    /// Whether this is the password.
    pub(crate) async fn is_password(
        &self,
        password: String,
        hash: String,
    ) -> Result<bool, Problem> {
        self.hashing(move || {
            let hash = PasswordHash::new(&hash);
            hash.is_ok_and(|hash| {
                Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
            })
        })
        .await
    }

    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _turn = self.hashes.acquire().await.map_err(|error| Problem::unavailable(&error))?;
        tokio::task::spawn_blocking(work).await.map_err(|error| Problem::unavailable(&error))
    }

    async fn known(&self, hash: SecretHash) -> Result<Option<SessionRow>, CatalogError> {
        let Some(session) = self.catalog.session(hash).await? else { return Ok(None) };
        let now = unix_ms();
        if now.saturating_sub(session.seen_unix_ms) > SESSION_MS {
            self.catalog.end_session(session.id).await?;
            return Ok(None);
        }
        self.catalog.see_session(session.id, now).await?;
        Ok(Some(session))
    }

    fn cookies<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = values.flat_map(|value| value.split(';'));
        let pairs = pairs.filter_map(|cookie| cookie.trim().split_once('='));
        let own = pairs.filter(|(name, _)| *name == self.cookie_name).map(|(_, value)| value);
        // A hostile page on a sibling host may have set more of them; one is ours.
        own.take(4).collect::<Vec<_>>().into_iter()
    }

    fn set_cookie(&self, value: &str, seconds: u64, line: Line) -> String {
        let secure = if line == Line::Tls { "; Secure" } else { "" };
        // HttpOnly: a script that got into the page cannot carry the session away. Strict: no other
        // site's page can use it. The path keeps it from most of what other servers on this host,
        // which share the cookie's host name, would be sent.
        format!(
            "{}={value}; Path=/api; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}",
            self.cookie_name
        )
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request came over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    Plain,
    Tls,
}

fn owners(session: &SessionRow, machine: &str) -> Grant {
    Grant {
        session: session.id,
        machine: machine.to_owned(),
        name: session.name.clone(),
        hue: session.hue,
        role: Role::Owner,
        share: None,
        past_from_ns: 0,
        past_from_unix_ms: 0,
        visit_of: None,
        expires_unix_ms: None,
    }
}

/// The best of the links to a machine that a session has opened: the highest role, and of those the
/// one that shows most of the past.
fn best(session: &SessionRow, machine: &str, shares: &[ShareRow], now: u64) -> Result<Grant, Gone> {
    let to_it = || shares.iter().filter(|share| share.machine == machine);
    let good = to_it().filter(|share| over(share, now).is_none());
    let good = good.filter_map(|share| Some((Role::named(&share.role)?, share)));
    let best = good.max_by_key(|(role, share)| {
        (*role, std::cmp::Reverse(share.past_from_ns), share.expires_unix_ms.unwrap_or(u64::MAX))
    });
    let Some((role, share)) = best else {
        // The newest says most.
        return Err(to_it().find_map(|share| over(share, now)).unwrap_or(Gone::NotAdmitted));
    };
    let since = share.past_from_ns.map(|ns| (ns, share.created_unix_ms)).unwrap_or_default();
    Ok(Grant {
        session: session.id,
        machine: machine.to_owned(),
        name: session.name.clone(),
        hue: session.hue,
        role,
        share: Some(share.id),
        past_from_ns: since.0,
        past_from_unix_ms: since.1,
        visit_of: share.visit_of,
        expires_unix_ms: share.expires_unix_ms,
    })
}

/// Why a link is good no more.
pub(crate) fn over(share: &ShareRow, now: u64) -> Option<Gone> {
    if share.revoked_unix_ms.is_some() {
        return Some(Gone::Revoked);
    }
    share.expires_unix_ms.filter(|end| *end <= now).map(|_| Gone::Expired)
}

/// A short random name, in hexadecimal.
pub(crate) fn random_name() -> Result<String, getrandom::Error> {
    Ok(format!("{:016x}", getrandom::u64()?))
}

#[cfg(test)]
mod tests;
