//! Recording a command's run without a terminal: in this process, as fast as the host can.

use std::io::{IsTerminal, Read, stdin};

use anyhow::{Context, Result};
use stackvm_host::process::scripted;
use stackvm_images::data_dir;
use stackvm_machine::MachineConfig;

use super::Recording;
use crate::args::Record;
use crate::commands::{blocking, play, prompt, run};
use crate::session::Signals;
use crate::work::Interrupted;

/// Runs the command; its output and exit code are passed on.
pub(super) async fn script(
    args: &Record,
    recording: Recording,
    signals: &mut Signals,
) -> Result<u8> {
    let data = data_dir()?;
    let source = run::source(args.image.as_deref(), &args.machine, signals).await?;
    // The name is the guest's host name: one that is the same every time.
    let name = args.machine.name.clone().or_else(|| args.image.clone());
    let mut spec = run::spec(&args.machine, name.as_deref().unwrap_or("recorded"), source)?;
    spec.record = Some(recording.journal().to_owned());
    if args.machine.seed.is_some() {
        spec.rtc_ns = Some(MachineConfig::default().rtc_ns);
    }
    prompt::ensure(&data, &spec, signals).await?;
    let command = args.command.clone();
    let ran = blocking(move || {
        let mut input = Vec::new();
        if !stdin().is_terminal() {
            stdin().lock().read_to_end(&mut input).context("standard input cannot be read")?;
        }
        Ok(scripted::record(&spec, &data, &command, &input, &mut play::pass_on)?)
    });
    let result = tokio::select! {
        result = ran => result,
        // What is recorded so far stays in the journal.
        signal = signals.next_end() => return Err(Interrupted(signal).into()),
    };
    if args.on_fail && matches!(result, Ok(0)) {
        recording.discard()?;
        return result;
    }
    // What went wrong with the command matters more.
    let finished = recording.finish(signals).await;
    result.and_then(|code| finished.map(|()| code))
}
