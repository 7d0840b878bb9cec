//! `stackvm share`: links to a machine, made, listed and revoked.

use std::io::{BufRead, Read, stdin};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stackvm_host::machines::Lifetime;
use stackvm_machine::instant::{TICKS_PER_NS, Ticks};

use super::{machine, machines};
use crate::args::{Share, ShareRole};
use crate::days::for_people;
use crate::door::Server;
use crate::failure::failure;
use crate::format::Format;

/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: u64 = 256;

/// Makes, lists or revokes.
pub(crate) fn run(args: &Share) -> Result<u8> {
    let spec = machine(&machines()?, &args.name)?.spec;
    let id = spec.name;
    let server = Server::running()?;
    if let Some(share) = &args.revoke {
        server.delete(&format!("/api/shares/{share}"))?;
        let json = json!({ "id": share, "revoked": true });
        args.format.format().print([share.as_str()], &json, || {});
    } else if args.list {
        list(args, &server.get(&format!("/api/machines/{id}/shares"))?)?;
    } else {
        let is_moment = spec.lifetime == Lifetime::Frozen;
        if args.at.is_some() && (is_moment || !(args.moment || args.visitors.is_some())) {
            return Err(failure(
                "--at says which moment is shared",
                "add --moment or --try, at a machine that is none itself",
            ));
        }
        let visits = args.visitors.map(|visitors| {
            json!({
                "visitors": visitors,
                "minutes": args.minutes,
                "cpu_percent": args.cpu,
                "memory_mib": args.mem.map(|bytes| bytes >> 20),
            })
        });
        let role = if visits.is_some() { ShareRole::Driver } else { args.role };
        let wish = json!({
            "role": role.word(),
            "label": args.label,
            "expires_in_s": args.expires,
            "password": args.password.then(password).transpose()?,
            "past": if args.past || args.moment { "all" } else { "from_now" },
            "visits": visits,
        });
        let shared = match args.moment || args.visitors.is_some() {
            true if !is_moment => keep_moment(&server, &id, args.at)?,
            _ => id,
        };
        made(args, &server, &server.post(&format!("/api/machines/{shared}/shares"), &wish)?)?;
    }
    Ok(0)
}

/// Keeps an instant of a machine, or its present, as a moment; returns its name.
fn keep_moment(server: &Server, id: &str, at: Option<Ticks>) -> Result<String> {
    let wish = at.map_or(json!({}), |at| json!({ "at_ns": at.get() / TICKS_PER_NS }));
    let moment = server.post(&format!("/api/machines/{id}/moments"), &wish)?;
    let name = moment["id"].as_str().context("the server's answer has no name")?;
    Ok(name.to_owned())
}

fn made(args: &Share, server: &Server, created: &Value) -> Result<()> {
    let format = args.format.format();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format.print([created["share"]["id"].as_str().unwrap_or_default()], created, || {
        println!("{}", text(&created["url"]));
    });
    if format == Format::Words {
        let reach = server.get("/api/reach")?;
        if reach["who"] == "this_computer" {
            eprintln!("Only this computer reaches that. From elsewhere: {}", text(&reach["ssh"]));
        }
    }
    Ok(())
}

fn list(args: &Share, shares: &Value) -> Result<()> {
    let items = shares["items"].as_array().context("the server's answer has no list")?;
    let good: Vec<&Value> =
        items.iter().filter(|share| share["revoked_unix_ms"].is_null()).collect();
    let ids = good.iter().map(|share| share["id"].as_str().unwrap_or_default());
    args.format.format().print(ids, shares, || table(&args.name, &good));
    Ok(())
}

fn table(machine: &str, good: &[&Value]) {
    if good.is_empty() {
        eprintln!("no links; `stackvm share {machine}` makes one");
        return;
    }
    println!("{:<16} {:<9} {:>6} {:>4}  {:<16}  LABEL", "LINK", "ROLE", "OPENED", "HERE", "ENDS");
    for share in good {
        let word = |name: &str| share[name].as_str().unwrap_or_default();
        let number = |name: &str| share[name].as_u64().unwrap_or_default();
        let ends = share["expires_unix_ms"].as_u64().map(for_people);
        println!(
            "{:<16} {:<9} {:>6} {:>4}  {:<16}  {}",
            word("id"),
            word("role"),
            number("opened"),
            number("here"),
            ends.unwrap_or_default(),
            word("label").escape_debug()
        );
    }
}

/// From standard input, so that it is in no process list and no shell's history.
fn password() -> Result<String> {
    let mut line = String::new();
    let mut input = stdin().lock().take(PASSWORD_BYTES_MAX + 2);
    input.read_line(&mut line).context("could not read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(failure("the password is empty", "write it in a line on standard input"));
    }
    Ok(password.to_owned())
}

impl ShareRole {
    pub(super) fn word(self) -> &'static str {
        match self {
            ShareRole::Viewer => "viewer",
            ShareRole::Commenter => "commenter",
            ShareRole::Driver => "driver",
        }
    }
}
