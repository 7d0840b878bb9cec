//! A machine's power, and facts about it while it runs.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use stackvm_host::machines::MachinesError;
use stackvm_host::protocol::{Command, Power, Reply};
use stackvm_machine::Instant;

use super::extract::{Body, Params, Place, Visitor};
use super::types::{Begun, InfoView, PowerAction, PowerRequest};
use crate::app::App;
use crate::problem::{Kind, Problem};
use crate::protocol::MachineState;
use crate::rights::Right;
use crate::rooms::{News, RoomError};
use crate::tasks::{Cancellable, Task};

/// How long a guest may take to switch off.
const SHUTDOWN_TIME: Duration = Duration::from_secs(30);

/// Switches a machine. Starting, saving and shutting down are tasks; the rest is done at once.
#[utoipa::path(post, path = "/api/machines/{id}/power", tag = "machines", request_body = PowerRequest,
    params(("id" = String, Path, description = "The machine.")),
    responses(
        (status = 202, description = "Begun.", body = Begun),
        (status = 204, description = "Done."),
    ))]
pub(crate) async fn act(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    Body(PowerRequest { action }): Body<PowerRequest>,
) -> Result<Response, Problem> {
    let grant = app.allow(&session, &id, Right::Power).await?;
    let machine = app.machine_view(&id, &grant).await?;
    let is_off = machine.state.is_off();
    let done = match action {
        PowerAction::Pause => Some(Power::Pause),
        PowerAction::Resume => Some(Power::Resume),
        PowerAction::Reset => Some(Power::Reset),
        PowerAction::Kill => Some(Power::Kill),
        PowerAction::Start | PowerAction::Save | PowerAction::Shutdown => None,
    };
    if let Some(power) = done {
        app.rooms.command(&id, Command::Power(power)).await?;
        if power == Power::Kill {
            app.fleet.disown(&id);
        }
        app.audit(&session, word(action), &id, "").await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    match (action, is_off) {
        (PowerAction::Start, false) => {
            let detail = "the machine is not off";
            return Err(Problem::new(Kind::Conflict, detail, "Nothing is left to do."));
        }
        (PowerAction::Start, true) if machine.frozen => {
            return Err(MachinesError::Frozen(id).into());
        }
        (PowerAction::Save | PowerAction::Shutdown, true) => return Err(RoomError::Off.into()),
        _ => {}
    }
    let title = match action {
        PowerAction::Start => "Start",
        PowerAction::Save => "Save",
        _ => "Shut down",
    };
    let title = format!("{title} {}", machine.name);
    let task = app.tasks.begin(title, Some(id.clone()), Cancellable::No)?;
    app.audit(&session, word(action), &id, "").await?;
    let begun = Begun { task: task.view(), machine: Some(machine) };
    match action {
        PowerAction::Start => app.start(task, id),
        _ => app.stop(task, id, action),
    }
    Ok((StatusCode::ACCEPTED, Json(begun)).into_response())
}

impl App {
    /// Starts a machine, on its own time.
    pub(crate) fn start(self: &Arc<App>, task: Task, id: String) {
        let app = self.clone();
        tokio::spawn(async move {
            app.rooms.tell(&id, News::Starting);
            let started = app.fleet.start(&id).await.map_err(Problem::into_fault);
            if let Err(fault) = &started {
                app.rooms.tell(&id, News::Failed(fault.clone()));
            }
            app.tell_changed(&id);
            task.end(started);
        });
    }

    fn stop(self: &Arc<App>, task: Task, id: String, action: PowerAction) {
        let app = self.clone();
        tokio::spawn(async move {
            let stopped = match action {
                PowerAction::Save => app.fleet.save(&id).await,
                _ => app.shut_down(&id).await,
            };
            app.tell_changed(&id);
            task.end(stopped.map_err(Problem::into_fault));
        });
    }

    /// Asks the guest to switch off and waits until it has. The plug is not pulled: that is another
    /// wish, which may lose what the guest has not written.
    async fn shut_down(&self, id: &str) -> Result<(), Problem> {
        let mut changes = self.rooms.changes();
        self.rooms.command(id, Command::Power(Power::Shutdown)).await?;
        self.fleet.disown(id);
        let off = async {
            while !matches!(
                self.rooms.condition(id).state,
                MachineState::Stopped | MachineState::Failed
            ) {
                // Whoever lags behind looks again, too.
                let _ = changes.recv().await;
            }
        };
        tokio::time::timeout(SHUTDOWN_TIME, off).await.map_err(|_| {
            let detail =
                format!("the guest did not switch off within {} s", SHUTDOWN_TIME.as_secs());
            Problem::new(Kind::Conflict, detail, "Look at its terminal, or pull the plug.")
        })
    }
}

/// As in the audit.
fn word(action: PowerAction) -> &'static str {
    match action {
        PowerAction::Start => "machine.start",
        PowerAction::Pause => "machine.pause",
        PowerAction::Resume => "machine.resume",
        PowerAction::Reset => "machine.reset",
        PowerAction::Shutdown => "machine.shutdown",
        PowerAction::Kill => "machine.kill",
        PowerAction::Save => "machine.save",
    }
}

/// Facts about a running machine; with `digest=true` also the digest of its whole state.
#[utoipa::path(get, path = "/api/machines/{id}/info", tag = "machines",
    params(
        ("id" = String, Path, description = "The machine."),
        ("digest" = Option<bool>, Query, description = "Whether to compute the digest."),
    ),
    responses((status = 200, description = "Facts.", body = InfoView)))]
pub(crate) async fn info(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    params: Params,
) -> Result<Json<InfoView>, Problem> {
    app.allow(&session, &id, Right::See).await?;
    params.only(&["digest"])?;
    let with_digest = params.flag("digest")?;
    app.fleet.get(&id).await?;
    let odd =
        || Problem::from(RoomError::Lost("the machine's process answered something else".into()));
    let Reply::Info(info) = app.rooms.command(&id, Command::Info).await? else { return Err(odd()) };
    let mut digest = None;
    if with_digest {
        let reply = app.rooms.command(&id, Command::Digest).await?;
        let Reply::Digest { instant_ticks, digest: text } = reply else { return Err(odd()) };
        digest = Some((text, Instant::from_ticks(instant_ticks).ns()));
    }
    let (digest, digest_instant_ns) = digest.unzip();
    Ok(Json(InfoView {
        memory_bytes: info.memory_bytes,
        harts: info.harts,
        instructions: info.instructions,
        instant_ns: Instant::from_ticks(info.instant_ticks).ns(),
        uptime_ms: info.uptime_ms,
        disk_written_bytes: info.disk_bytes_written,
        digest,
        digest_instant_ns,
    }))
}
