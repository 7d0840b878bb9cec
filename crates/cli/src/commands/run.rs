//! `stackvm run`: a machine in this terminal, or one command in it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use stackvm_host::machines::{
    Access, DiskSpec, FirmwareSpec, Keep, Lifetime, MachineSpec, Machines, Network, Source,
    StartFrom,
};
use stackvm_images::data_dir;
use stackvm_machine::{ConsoleId, Instant};

use super::attach::Streams;
use super::record::{Existing, Recording};
use super::until::{self, Show};
use super::{Joined, Owner, attach, create, image, prompt, rows};
use crate::args::{MachineArgs, Net, Run};
use crate::failure::{self, failure};
use crate::format::Format;
use crate::session::{self, End, Link, Menu, RecordingEnd, Signals, Target, Watch};

/// Runs a machine; the exit code is the command's or the guest's.
pub(crate) async fn run(args: Run) -> Result<u8> {
    let mut signals = Signals::new()?;
    let home = data_dir()?;
    let source = source(args.image.as_deref(), &args.machine, &mut signals).await?;
    if let Some(span) = args.until {
        let show = match (&source, args.digest) {
            (_, true) => Show::Digest,
            (Source::Image { .. }, false) => Show::Console(ConsoleId::Hvc(0)),
            (_, false) => Show::Console(ConsoleId::Serial),
        };
        let spec = spec(&args.machine, "until", source)?;
        let config = spec.machine_config(&home)?;
        let label = spec.image_label();
        return until::run(&label, config, Instant::ZERO + span, show, &mut signals).await;
    }

    let recording = match &args.record {
        Some(file) => Some(Recording::new(file, Existing::Refuse, RecordingEnd::GoOn)?),
        None => None,
    };
    let plan = Plan {
        machine: &args.machine,
        source,
        command: &args.command,
        streams: if args.tty { Streams::Terminal } else { Streams::Pipes },
        recording,
        detach: args.detach.format(),
    };
    live(plan, &mut signals).await
}

/// A machine to start and to join.
pub(super) struct Plan<'a> {
    /// What it starts from.
    pub(super) source: Source,
    /// What else it is made of.
    pub(super) machine: &'a MachineArgs,
    /// What runs in it; nothing is its terminal.
    pub(super) command: &'a [String],
    /// Where the command's streams lead.
    pub(super) streams: Streams,
    /// Whether everything is recorded.
    pub(super) recording: Option<Recording>,
    /// How to answer instead of joining it.
    pub(super) detach: Option<Format>,
}

/// Starts a machine and joins it until one of the two ends.
pub(super) async fn live(plan: Plan<'_>, signals: &mut Signals) -> Result<u8> {
    let machines = Machines::open(&data_dir()?)?.with_sandbox(plan.machine.sandbox.mode());
    let (name, lifetime) = match &plan.machine.name {
        Some(name) => (name.clone(), Lifetime::Named),
        None => (machines.free_name()?, Lifetime::Ephemeral),
    };
    if lifetime == Lifetime::Named && machines.find(&name).is_ok() {
        return Err(failure(
            format!("there is a machine {name} already"),
            format!("`stackvm start {name}` starts it; or choose another --name"),
        ));
    }
    let watch = match &plan.source {
        Source::Image { name, .. } => Watch::Boot(name.clone()),
        Source::Files { .. } | Source::Recording { .. } | Source::Journal { .. } => Watch::Nothing,
    };
    let mut spec = spec(plan.machine, &name, plan.source)?;
    spec.lifetime = lifetime;
    if !matches!(spec.source, Source::Recording { .. }) {
        spec.record = plan.recording.as_ref().map(|recording| recording.journal().to_owned());
    }
    prompt::ensure(&data_dir()?, &spec, signals).await?;
    let started = create(&machines, spec).await?;
    if let Some(format) = plan.detach {
        rows::answer(&machines, std::slice::from_ref(&name), format, || println!("{name}"));
        if let Some(recording) = plan.recording {
            recording.left_running();
        }
        return Ok(0);
    }
    let joined = Joined { machines, name, lifetime, owner: Owner::Session };
    let menu = plan.recording.as_ref().map_or(Menu::Machine, Recording::menu);
    let end = match Link::connect(&started.socket).await {
        Ok(link) => {
            let target = target(plan.command, plan.streams, &link);
            session::run(link, target, watch, menu, signals).await
        }
        Err(error) => Err(error),
    };
    let detached = matches!(end, Ok(End::Detached));
    let result = joined.conclude(end, signals).await;
    match plan.recording {
        Some(recording) if detached => recording.left_running(),
        Some(recording) => {
            // What went wrong with the machine matters more.
            let finished = recording.finish(signals).await;
            if let (Err(_), Err(error)) = (&result, &finished) {
                eprint!("{}", failure::describe(error));
            }
            return result.and_then(|code| finished.map(|()| code));
        }
        None => {}
    }
    result
}

fn target(command: &[String], streams: Streams, link: &Link) -> Target {
    if command.is_empty() {
        return Target::Console(attach::console(link));
    }
    Target::Exec(attach::exec_spec(command, streams))
}

/// What the machine starts from; an image that can be built is built.
pub(super) async fn source(
    image: Option<&str>,
    args: &MachineArgs,
    signals: &mut Signals,
) -> Result<Source> {
    if let Some(name) = image {
        let image = image::ensure(name, args.mirror.as_deref(), signals).await?;
        return Ok(Source::Image { name: name.to_owned(), hash: Some(image.hash) });
    }
    let firmware = match args.firmware.as_deref() {
        None => FirmwareSpec::Auto,
        Some("builtin") => FirmwareSpec::Builtin,
        Some("none") => FirmwareSpec::None,
        Some(file) => FirmwareSpec::File(existing("firmware", Path::new(file))?),
    };
    if args.kernel.is_none() && !matches!(firmware, FirmwareSpec::File(_)) {
        return Err(failure("there is nothing to run", "name an image or a --kernel FILE"));
    }
    Ok(Source::Files {
        kernel: args.kernel.as_deref().map(|path| existing("kernel", path)).transpose()?,
        initrd: args.initrd.as_deref().map(|path| existing("initrd", path)).transpose()?,
        append: args.append.clone().unwrap_or_default(),
        firmware,
    })
}

pub(super) fn spec(args: &MachineArgs, name: &str, source: Source) -> Result<MachineSpec> {
    let disk = |path: &PathBuf| -> Result<DiskSpec> {
        Ok(DiskSpec { path: existing("disk", path)?, access: Access::CopyOnWrite })
    };
    Ok(MachineSpec {
        memory_bytes: args.mem,
        harts: args.harts,
        disks: args.disks.iter().map(disk).collect::<Result<_>>()?,
        network: match args.net {
            Net::None => Network::None,
            Net::User => Network::User,
        },
        forwards: args.publish.clone(),
        sv48: args.sv48,
        seed: args.seed,
        keep: if args.no_history { Keep::NOTHING } else { args.keep.unwrap_or_default() },
        start: if args.cold { StartFrom::Cold } else { StartFrom::Prompt },
        ..MachineSpec::new(name, source)
    })
}

/// The absolute path of a file that is there: a lab has another working directory.
fn existing(what: &str, path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("the {what} {} cannot be used", path.display()))
}
