//! Leads a machine from preparation to its end, again and again: prepares, connects, carries its
//! output into the room, and waits for somebody to press start when it is off.

use std::sync::Arc;

use crate::backend::{Fault, MachineEvent, MachineLink, Preparation, Progress, Report};
use crate::protocol::Screen;
use crate::room::{Room, Status};

/// Never returns; ends with the task it runs in.
pub(crate) async fn conduct(room: Arc<Room>, preparation: Arc<dyn Preparation>) {
    loop {
        let end = match open(&room, preparation.as_ref()).await {
            Ok(link) => follow(&room, link).await,
            Err(fault) => Status::Failed(fault),
        };
        room.detach();
        room.set_status(end);
        room.start.notified().await;
    }
}

async fn open(room: &Arc<Room>, preparation: &dyn Preparation) -> Result<MachineLink, Fault> {
    room.set_status(Status::Preparing(Progress::default()));
    let reported = room.clone();
    let report = Report::new(move |progress| reported.set_status(Status::Preparing(progress)));
    preparation.prepare(report).await?;
    room.set_status(Status::Starting);
    preparation.connect().await
}

/// Carries what the machine says into the room until it ends; returns how it ended.
async fn follow(room: &Room, mut link: MachineLink) -> Status {
    room.attach(link.commands.clone());
    room.set_status(Status::Booting);
    while let Some(event) = link.events.recv().await {
        match event {
            MachineEvent::Output { screen, bytes } => {
                room.push_output(screen, &bytes);
                if screen == Screen::Terminal {
                    room.set_up();
                }
            }
            MachineEvent::OutputLost { screen } => room.lose_output(screen),
            MachineEvent::Up => room.set_up(),
            MachineEvent::Paused(Some(reason)) => room.set_status(Status::Paused(reason)),
            MachineEvent::Paused(None) => room.resume(),
            MachineEvent::Notice(text) => room.notify(text),
            MachineEvent::Stopped { reason } => return Status::Stopped(reason),
            MachineEvent::Failed(fault) => return Status::Failed(fault),
        }
    }
    Status::Failed(Fault {
        what: "the machine's process ended without a word".into(),
        action: "press Start; if it happens again, look at the machine's log".into(),
    })
}
