//! Who may use the machine: one-time tokens, which a person carries in a link, and the sessions they
//! are exchanged for, which a browser carries in a cookie. All in memory: a restart ends them.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Links given out and not yet used; a further one makes the oldest void.
const TOKENS_MAX: usize = 16;
/// Browsers that are in; a further one puts the oldest out.
const SESSIONS_MAX: usize = 64;
/// Exchanges at once, and how long until one more is allowed.
const EXCHANGES_MAX: u32 = 20;
const EXCHANGE_INTERVAL: Duration = Duration::from_millis(200);

/// 256 random bits: not to be guessed, at any rate a loopback can offer.
struct Secret([u8; 32]);

/// Tokens and sessions of one server.
pub(crate) struct Access {
    cookie_name: String,
    inner: Mutex<Inner>,
}

struct Inner {
    tokens: VecDeque<Secret>,
    sessions: VecDeque<Secret>,
    exchanges: u32,
    refilled: Instant,
}

/// Why a token was not exchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Never given out, or used already.
    Unknown,
    /// Too many attempts; a later one may succeed.
    TooMany,
}

impl Access {
    /// `instance` tells the cookies of several servers on one host apart: browsers keep cookies by
    /// host name and ignore the port.
    pub(crate) fn new(instance: &str) -> Access {
        let inner = Inner {
            tokens: VecDeque::new(),
            sessions: VecDeque::new(),
            exchanges: EXCHANGES_MAX,
            refilled: Instant::now(),
        };
        Access { cookie_name: format!("stackvm_{instance}"), inner: Mutex::new(inner) }
    }

    /// A new token, in hexadecimal.
    pub(crate) fn mint(&self) -> Result<String, getrandom::Error> {
        let secret = Secret::random()?;
        let token = secret.hex();
        keep(&mut self.lock().tokens, secret, TOKENS_MAX);
        Ok(token)
    }

    /// Takes a token, which is void from now on, and returns the `Set-Cookie` of a new session.
    pub(crate) fn exchange(&self, token: &str) -> Result<String, Refusal> {
        let mut inner = self.lock();
        // A neighbour (any other user of this host) may try tokens or just keep the server busy.
        if !inner.spend_exchange() {
            return Err(Refusal::TooMany);
        }
        let place = inner.tokens.iter().position(|known| known.is(token));
        let place = place.ok_or(Refusal::Unknown)?;
        // Without randomness nobody gets in; the token stays good for another attempt.
        let session = Secret::random().map_err(|_| Refusal::TooMany)?;
        inner.tokens.remove(place);
        // HttpOnly: a script that got into the page cannot carry the session away. Strict: no other
        // site's page can use it. The path keeps it from most of what other servers on this host,
        // which share the cookie's host name, would be sent.
        let cookie =
            format!("{}={}; Path=/api; HttpOnly; SameSite=Strict", self.cookie_name, session.hex());
        keep(&mut inner.sessions, session, SESSIONS_MAX);
        Ok(cookie)
    }

    /// Whether one of a request's cookies is a session of this server.
    pub(crate) fn admits<'a>(&self, cookie_headers: impl Iterator<Item = &'a str>) -> bool {
        let inner = self.lock();
        cookie_headers
            .flat_map(|header| header.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie_name)
            .any(|(_, value)| inner.sessions.iter().any(|session| session.is(value)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn spend_exchange(&mut self) -> bool {
        let intervals = self.refilled.elapsed().as_millis() / EXCHANGE_INTERVAL.as_millis();
        if intervals > 0 {
            let earned = u32::try_from(intervals).unwrap_or(EXCHANGES_MAX);
            self.exchanges = self.exchanges.saturating_add(earned).min(EXCHANGES_MAX);
            self.refilled = Instant::now();
        }
        let is_allowed = self.exchanges > 0;
        self.exchanges -= u32::from(is_allowed);
        is_allowed
    }
}

impl Secret {
    fn random() -> Result<Secret, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Secret(bytes))
    }

    fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Compares in a time that does not depend on where the difference is: a neighbour who measures
    /// answers learns nothing of a secret's beginning.
    fn is(&self, text: &str) -> bool {
        let own = self.hex();
        if own.len() != text.len() {
            return false;
        }
        let difference = own.bytes().zip(text.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        black_box(difference) == 0
    }
}

fn keep(secrets: &mut VecDeque<Secret>, secret: Secret, limit: usize) {
    secrets.push_back(secret);
    if secrets.len() > limit {
        secrets.pop_front();
    }
    assert!(secrets.len() <= limit);
}

/// A short random name, in hexadecimal.
pub(crate) fn random_name() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(set_cookie: &str) -> &str {
        set_cookie.split(';').next().unwrap()
    }

    #[test]
    fn a_token_opens_one_session() {
        let access = Access::new("a");
        let token = access.mint().unwrap();
        let session = access.exchange(&token).unwrap();
        assert!(
            session.starts_with("stackvm_a=") && session.contains("; HttpOnly; SameSite=Strict")
        );
        assert!(access.admits([cookie(&session)].into_iter()));
        assert!(access.admits(["theme=dark; x", &format!("b=1;{}", cookie(&session))].into_iter()));
        assert_eq!(access.exchange(&token), Err(Refusal::Unknown));
    }

    #[test]
    fn what_was_not_given_out_admits_nobody() {
        let access = Access::new("a");
        let token = access.mint().unwrap();
        let other = Access::new("b");
        let theirs = other.exchange(&other.mint().unwrap()).unwrap();
        let renamed = cookie(&theirs).replace("stackvm_b", "stackvm_a");
        for header in ["", "stackvm_a", "stackvm_a=", cookie(&theirs), &renamed] {
            assert!(!access.admits([header].into_iter()), "{header}");
        }
        // A token is no session.
        assert!(!access.admits([format!("stackvm_a={token}").as_str()].into_iter()));
        for wrong in ["", "0", &token[1..], &token.to_uppercase().replace('0', "1")] {
            assert_eq!(access.exchange(wrong), Err(Refusal::Unknown), "{wrong}");
        }
        assert!(access.exchange(&token).is_ok());
    }

    #[test]
    fn guessing_is_slow() {
        let access = Access::new("a");
        let refusals: Vec<_> = (0..1000).map(|_| access.exchange("guess").unwrap_err()).collect();
        let tried = refusals.iter().filter(|refusal| **refusal == Refusal::Unknown).count();
        assert!((20..100).contains(&tried), "{tried} guesses were looked at");
    }

    #[test]
    fn the_oldest_link_gives_way() {
        let access = Access::new("a");
        let tokens: Vec<_> = (0..=TOKENS_MAX).map(|_| access.mint().unwrap()).collect();
        assert_eq!(access.exchange(&tokens[0]), Err(Refusal::Unknown));
        assert!(access.exchange(&tokens[1]).is_ok());
    }
}
