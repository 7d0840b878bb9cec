//! `stackvm share`: links to a machine, made, listed and revoked.

use std::io::{BufRead, Read, stdin};

use anyhow::{Context, Result};
use serde_json::{Value, json};

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
    let id = machine(&machines()?, &args.name)?.spec.name;
    let server = Server::running()?;
    if let Some(share) = &args.revoke {
        server.delete(&format!("/api/shares/{share}"))?;
        let json = json!({ "id": share, "revoked": true });
        args.format.format().print([share.as_str()], &json, || {});
    } else if args.list {
        list(args, &server.get(&format!("/api/machines/{id}/shares"))?)?;
    } else {
        let wish = json!({
            "role": args.role.word(),
            "label": args.label,
            "expires_in_s": args.expires,
            "password": args.password.then(password).transpose()?,
            "past": if args.past { "all" } else { "from_now" },
        });
        made(args, &server, &server.post(&format!("/api/machines/{id}/shares"), &wish)?)?;
    }
    Ok(0)
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
    fn word(self) -> &'static str {
        match self {
            ShareRole::Viewer => "viewer",
            ShareRole::Commenter => "commenter",
            ShareRole::Driver => "driver",
        }
    }
}
