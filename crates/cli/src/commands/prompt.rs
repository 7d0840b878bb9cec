//! The prompt that machines of an image start from: made before the first one starts.

use std::path::Path;

use anyhow::{Context, Result};
use stackvm_host::machines::MachineSpec;
use stackvm_host::prompt::{self, Progress};
use stackvm_images::{Phase, Progress as Report};

use crate::session::Signals;
use crate::work::with_progress;

/// Makes the prompt for a machine, if it starts from one and there is none; with progress.
pub(super) async fn ensure(data: &Path, spec: &MachineSpec, signals: &mut Signals) -> Result<()> {
    if !prompt::is_possible(spec) {
        return Ok(());
    }
    let (data, spec) = (data.to_owned(), spec.clone());
    with_progress(signals, move |sink, cancel| {
        let label = spec.image_label();
        let mut began = false;
        let mut tell = |progress: Progress| {
            let message = match progress {
                // Where nobody watches this line is the only one.
                Progress::Boots { .. } if !std::mem::replace(&mut began, true) => {
                    format!("the prompt of {label}, once")
                }
                Progress::Boots { virtual_ns } => {
                    let tenths = virtual_ns / 100_000_000;
                    format!("the prompt of {label}, once: {}.{} s", tenths / 10, tenths % 10)
                }
                Progress::Writes => format!("the prompt of {label}, once: writing it"),
                Progress::Waits => {
                    format!("the prompt of {label}: another process makes it, waiting")
                }
                Progress::Damaged { problem } => {
                    eprintln!("{problem}; it is made again");
                    return;
                }
            };
            let (done_bytes, total_bytes) = (None, None);
            sink(Report { phase: Phase::Prepare, done_bytes, total_bytes, message });
        };
        prompt::ensure(&data, &spec, &mut tell, cancel)
            .with_context(|| format!("could not prepare the prompt of {label}"))
    })
    .await
}
