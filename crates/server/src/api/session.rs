//! Coming in, being called something, and leaving.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use stackvm_catalog::ids::{Secret, SecretHash, ShareId};
use stackvm_catalog::rows::{SessionRow, ShareRow};

use super::extract::{Body, Visitor};
use super::types::{ChangeSession, OpenSession, SessionView, SharedMachine};
use crate::access::over;
use crate::app::App;
use crate::clock::unix_ms;
use crate::guard::Caller;
use crate::problem::{Kind, Problem};
use crate::protocol::{Gone, NAME_BYTES_MAX};
use crate::rights::Role;
use crate::rooms::{Cut, names};
use crate::visits::Wish;

/// Longest thing that may be presented as a secret, in bytes.
const SECRET_BYTES_MAX: usize = 256;

/// Who this browser is.
#[utoipa::path(get, path = "/api/session", tag = "session", responses(
    (status = 200, description = "Somebody.", body = SessionView),
))]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
) -> Result<Json<SessionView>, Problem> {
    view(&app, &session, None, None).await.map(Json)
}

/// Comes in: with the owner's token, or with a link. Without `bearer` the answer sets a cookie.
#[utoipa::path(post, path = "/api/session", tag = "session", request_body = OpenSession, responses(
    (status = 200, description = "In.", body = SessionView),
))]
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    Body(body): Body<OpenSession>,
) -> Result<Response, Problem> {
    app.limits.exchange(caller.address)?;
    let present = app.access.visitor(&headers).await?;
    let by = By { app: &app, caller, present };
    match body {
        OpenSession {
            token: Some(token),
            share: None,
            secret: None,
            password: None,
            bearer: false,
        } => by.token(&token).await,
        OpenSession { token: Some(_), .. } => Err(Problem::field("token", "a token stands alone")),
        OpenSession { share: None, .. } => Err(Problem::field("share", "it is missing")),
        OpenSession { share: Some(share), secret, password, bearer, .. } => {
            let share = match secret {
                Some(secret) => by.share(&share, &secret, password).await?,
                None => by.published(&share).await?,
            };
            if bearer { by.bearer(&share).await } else { by.cookie(&share).await }
        }
    }
}

/// Calls this browser's person something else.
#[utoipa::path(patch, path = "/api/session", tag = "session", request_body = ChangeSession, responses(
    (status = 200, description = "Changed.", body = SessionView),
))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    Visitor(mut session): Visitor,
    Body(body): Body<ChangeSession>,
) -> Result<Json<SessionView>, Problem> {
    let name = names::clean_name(&body.name).filter(|_| body.name.len() <= NAME_BYTES_MAX);
    let problem =
        || Problem::field("name", format!("a name is 1 to {NAME_BYTES_MAX} bytes of text"));
    session.name = name.ok_or_else(problem)?;
    app.catalog.name_session(session.id, &session.name, session.hue).await?;
    app.audit(&session, "session.rename", &session.id.to_string(), session.name.as_str()).await?;
    view(&app, &session, None, None).await.map(Json)
}

/// Leaves: this browser is nobody from now on.
#[utoipa::path(delete, path = "/api/session", tag = "session", responses(
    (status = 204, description = "Out."),
))]
pub(crate) async fn end(
    State(app): State<Arc<App>>,
    caller: Caller,
    Visitor(session): Visitor,
) -> Result<Response, Problem> {
    app.catalog.end_session(session.id).await?;
    app.rooms.cut(&Cut::Session(session.id, Gone::NotAdmitted));
    app.audit(&session, "session.end", &session.id.to_string(), "").await?;
    let cookie = app.access.no_cookie(caller.line);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Somebody who wants to come in.
struct By<'a> {
    app: &'a App,
    caller: Caller,
    /// Who they are already.
    present: Option<SessionRow>,
}

impl By<'_> {
    async fn token(self, token: &str) -> Result<Response, Problem> {
        let is_one = token.len() <= SECRET_BYTES_MAX;
        let Some(token) = is_one.then(|| self.app.access.redeem(token)).flatten() else {
            let action = "Run `stackvm open` for a new one.";
            let detail = "this link was used already, or is too old";
            return Err(Problem::new(Kind::NoSuchLink, detail, action));
        };
        let app = self.app;
        let answer = self.become_owner().await;
        if answer.is_err() {
            // On a full disk nobody comes in, and the link that opens once is good once.
            app.access.give_back(token);
        }
        answer
    }

    async fn become_owner(mut self) -> Result<Response, Problem> {
        let app = self.app;
        let secret = match &mut self.present {
            Some(session) => {
                let owner = app.catalog.owner();
                app.catalog.promote_session(session.id, owner).await?;
                session.owner = Some(owner);
                None
            }
            None => Some(self.begin(Role::Owner).await?),
        };
        let session = self.somebody()?;
        app.audit(session, "session.open", &session.id.to_string(), "owner").await?;
        self.answer(view(app, session, None, None).await?, secret)
    }

    /// The link that somebody presents, if it is good.
    async fn share(
        &self,
        id: &str,
        secret: &str,
        password: Option<String>,
    ) -> Result<ShareRow, Problem> {
        // A wrong name and a wrong secret are one and the same: a guesser learns nothing.
        let unknown = || {
            let action = "Ask whoever sent it for a new one.";
            Problem::new(Kind::NoSuchLink, "there is no such link", action)
        };
        let id: ShareId = id.parse().map_err(|_| unknown())?;
        let share = self.app.catalog.share(id).await?.filter(|share| {
            secret.len() <= SECRET_BYTES_MAX && share.secret == SecretHash::of(secret)
        });
        let share = share.ok_or_else(unknown)?;
        let ask = "Ask whoever sent it for a new one.";
        match over(&share, unix_ms()) {
            Some(Gone::Expired) => {
                return Err(Problem::new(Kind::Expired, "the link's time is over", ask));
            }
            Some(_) => return Err(Problem::new(Kind::Revoked, "its owner took it back", ask)),
            None => {}
        }
        let Some(hash) = &share.password else { return Ok(share) };
        let Some(password) = password else {
            let detail = "the link asks for a password";
            return Err(Problem::new(Kind::PasswordNeeded, detail, "Enter it.").about("password"));
        };
        self.app.limits.password(id)?;
        if password.len() > SECRET_BYTES_MAX
            || !self.app.access.is_password(password, hash.clone()).await?
        {
            let detail = "that is not the link's password";
            return Err(Problem::new(Kind::WrongPassword, detail, "Try again.").about("password"));
        }
        Ok(share)
    }

    /// The published recording of this name: that needs no secret.
    async fn published(&self, id: &str) -> Result<ShareRow, Problem> {
        match self.app.published(id).await? {
            Some(row) => Ok(row),
            // Of a link that is not published nobody learns that it is there.
            None => Err(Problem::field("secret", "it is missing")),
        }
    }

    /// In a frame on another site, for which a browser keeps no cookies: a session of its own, which
    /// has this one link and nothing that this browser has otherwise.
    async fn bearer(mut self, share: &ShareRow) -> Result<Response, Problem> {
        let secret = self.begin(Role::Viewer).await?;
        let view = self.enter(share, Some(secret.hex())).await?;
        self.answer(view, None)
    }

    async fn cookie(mut self, share: &ShareRow) -> Result<Response, Problem> {
        let secret = match self.present {
            Some(_) => None,
            None => Some(self.begin(Role::Viewer).await?),
        };
        let view = self.enter(share, None).await?;
        self.answer(view, secret)
    }

    async fn begin(&mut self, whose: Role) -> Result<Secret, Problem> {
        let (session, secret) = self.app.access.begin(whose).await?;
        self.present = Some(session);
        Ok(secret)
    }

    async fn enter(
        &self,
        share: &ShareRow,
        bearer: Option<String>,
    ) -> Result<SessionView, Problem> {
        let session = self.somebody()?;
        if session.owner.is_none() {
            self.app.catalog.grant(session.id, share.id).await?;
        }
        self.app.catalog.count_opening(share.id).await?;
        self.app
            .audit(session, "share.open", &share.id.to_string(), share.machine.as_str())
            .await?;
        let Some(limits) = share.visits else {
            return view(self.app, session, Some(&share.machine), bearer).await;
        };
        let visit = self.app.visit(session, share, limits, Wish::Any).await?;
        let seen = view(self.app, session, visit.machine.as_deref(), bearer).await?;
        Ok(SessionView { visit: Some(visit), ..seen })
    }

    fn somebody(&self) -> Result<&SessionRow, Problem> {
        self.present.as_ref().ok_or_else(Problem::signed_out)
    }

    fn answer(&self, view: SessionView, secret: Option<Secret>) -> Result<Response, Problem> {
        let mut response = Json(view).into_response();
        if let Some(secret) = secret {
            let cookie = self.app.access.cookie(&secret, self.caller.line);
            let cookie = cookie.parse().map_err(|_| Problem::signed_out())?;
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

async fn view(
    app: &App,
    session: &SessionRow,
    machine: Option<&str>,
    bearer: Option<String>,
) -> Result<SessionView, Problem> {
    let mut shared = Vec::new();
    if session.owner.is_none() {
        let mut ids: Vec<String> =
            app.catalog.grants(session.id).await?.into_iter().map(|share| share.machine).collect();
        ids.sort();
        ids.dedup();
        for id in ids {
            // One that was deleted meanwhile is not there.
            if let Ok(grant) = app.see(session, &id).await
                && let Ok(listed) = app.fleet.get(&id).await
            {
                shared.push(SharedMachine {
                    id,
                    name: listed.label().to_owned(),
                    role: grant.role,
                });
            }
        }
    }
    Ok(SessionView {
        owner: session.owner.is_some(),
        name: session.name.clone(),
        hue: session.hue,
        machine: machine.map(str::to_owned),
        visit: None,
        shared,
        bearer,
        warning: app.reach.warning(),
        unsandboxed: app.unsandboxed,
    })
}
