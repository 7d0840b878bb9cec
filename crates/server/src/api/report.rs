//! A problem as a link: what somebody needs to look into it, as text for a forum.
//!
//! What the guest wrote stands in it as indented code, line by line and without control characters:
//! a hostile guest's text stays text there.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use stackvm_catalog::rows::SessionRow;
use stackvm_host::machines::{Deed, Done, Lifetime, Picture};
use stackvm_machine::{ConsoleId, Instant};

use super::extract::{Body, Place, Visitor};
use super::shares::check_role;
use super::types::{MachineView, NewReport, NewShare, Past, ReportView};
use crate::app::App;
use crate::idempotency::HasSecret;
use crate::problem::Problem;
use crate::rights::{Right, Role};

/// Lines that were entered last.
const LINES: usize = 10;

/// Makes a report of the machine as it is now: a moment of it, a link to that, and as Markdown what
/// it is, what was entered last, and what its first terminal shows.
#[utoipa::path(post, path = "/api/machines/{id}/reports", tag = "past", request_body = NewReport,
    params(("id" = String, Path, description = "The machine.")),
    responses((status = 201, description = "Made.", body = ReportView)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Visitor(session): Visitor,
    Place(id): Place<String>,
    Body(body): Body<NewReport>,
) -> Result<Response, Problem> {
    app.allow(&session, &id, Right::Fork).await?;
    let grant = app.allow(&session, &id, Right::Share).await?;
    let role = body.role.unwrap_or(Role::Viewer);
    check_role(role)?;
    let machine = app.machine_view(&id, &grant).await?;
    let is_moment = app.fleet.get(&id).await?.spec.lifetime == Lifetime::Frozen;
    let moment = if is_moment { id.clone() } else { app.keep_moment(&session, &id, None).await? };
    let url = app.link_of_report(&session, &moment, role).await?;
    let deeds = app.fleet.deeds(&id, Instant::from_ns(grant.past_from_ns), LINES).await?;
    let console = app.rooms.consoles(&id).first().copied().unwrap_or(ConsoleId::Hvc(0));
    // There is one instant of a moment.
    let shown = app.fleet.picture(&moment, console, Instant::default()).await?;
    let markdown = markdown(&machine, &deeds, &shown, (&url, role));
    let mut response =
        (StatusCode::CREATED, Json(ReportView { moment, url, markdown })).into_response();
    response.extensions_mut().insert(HasSecret);
    Ok(response)
}

impl App {
    async fn link_of_report(
        &self,
        session: &SessionRow,
        moment: &str,
        role: Role,
    ) -> Result<String, Problem> {
        let wish = NewShare {
            role,
            label: "report".to_owned(),
            expires_in_s: None,
            password: None,
            past: Past::All,
            visits: None,
        };
        Ok(self.make_link(session, moment, wish).await?.url)
    }
}

fn markdown(
    machine: &MachineView,
    deeds: &[Deed],
    shown: &Picture,
    (url, role): (&str, Role),
) -> String {
    let may = match role {
        Role::Driver => "shows it, and lets you go on from there in a machine of your own",
        _ => "shows it as it was",
    };
    let memory = machine.memory_bytes.map(|bytes| format!(", {} MiB", bytes >> 20));
    let harts =
        if machine.harts == 1 { "1 hart".into() } else { format!("{} harts", machine.harts) };
    let mut text = format!(
        "### What happened\n\n(What you did, what you expected, and what you saw.)\n\n\
         ### The machine\n\n<{url}> {may}.\n\n\
         * machine: {}{}, {harts}\n* instant: {} after it was switched on\n* StackVM {} ({} {})\n",
        plain(&machine.image),
        memory.unwrap_or_default(),
        clock(shown.at.ns()),
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
    );
    let entered = deeds.iter().filter_map(|deed| match &deed.what {
        Done::Entered { line, .. } => Some(format!("{}  {}", clock(deed.at.ns()), plain(line))),
        Done::Marked { .. } => None,
    });
    section(&mut text, "What was entered last", entered);
    let last = shown.text.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    section(&mut text, "What its terminal showed", shown.text[..last].iter().map(|it| plain(it)));
    text
}

/// A heading and lines of code, if there are any.
fn section(text: &mut String, heading: &str, lines: impl Iterator<Item = String>) {
    for (number, line) in lines.enumerate() {
        if number == 0 {
            let _ = write!(text, "\n### {heading}\n\n");
        }
        let _ = writeln!(text, "{}", format!("    {line}").trim_end());
    }
}

/// Without what would not stay within its line.
fn plain(line: &str) -> String {
    line.chars().map(|c| if c.is_control() || c == '\u{2028}' { ' ' } else { c }).collect()
}

/// `00:12:31.5`.
fn clock(ns: u64) -> String {
    let (s, tenths) = (ns / 1_000_000_000, ns / 100_000_000 % 10);
    format!("{:02}:{:02}:{:02}.{tenths}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_wrote_stays_code() {
        let mut text = String::new();
        let lines = ["# not a heading", "</code>\r\n# neither", "", "\u{2028}# nor this"];
        section(&mut text, "Shown", lines.iter().map(|line| plain(line)));
        let expected =
            "\n### Shown\n\n    # not a heading\n    </code>  # neither\n\n     # nor this\n";
        assert_eq!(text, expected);
        let mut text = String::new();
        section(&mut text, "Shown", std::iter::empty());
        assert_eq!(text, "");
    }

    #[test]
    fn instants_are_read_like_a_clock() {
        for (ns, expected) in [
            (0, "00:00:00.0"),
            (999_999_999, "00:00:00.9"),
            (3_725_500_000_000, "01:02:05.5"),
            (360_000_000_000_000, "100:00:00.0"),
        ] {
            assert_eq!(clock(ns), expected);
        }
    }
}
