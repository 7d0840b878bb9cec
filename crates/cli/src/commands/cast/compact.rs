//! `stackvm cast compact`: without what can be computed again.

use std::fs;

use anyhow::{Context, Result};
use stackvm_timeline::Timeline;
use stackvm_timeline::vmcast::{self, Keyframes};

use super::interruptible;
use crate::args::CastCompact;
use crate::casts::{self, Found};
use crate::failure::failure;
use crate::values::show_bytes;

pub(super) async fn run(args: CastCompact) -> Result<u8> {
    interruptible(move || {
        let (found, newest) = casts::newest(&args.file)?;
        if found == Found::Journal && args.output.is_none() {
            return Err(failure(
                format!("{} is not finished: its journal is beside it", args.file.display()),
                "end the recording, or name a new file with -o",
            ));
        }
        let output = args.output.as_deref().unwrap_or(&args.file);
        if args.output.is_some() && output.exists() {
            return Err(failure(
                format!("{} is there already", output.display()),
                "remove it, or choose another name",
            ));
        }
        let timeline = Timeline::open(&newest)?;
        let before = (found == Found::File).then(|| fs::metadata(&newest)).transpose()?;
        vmcast::write(&timeline, output, Keyframes::First, &mut |_, _| true)
            .with_context(|| format!("could not compact {}", args.file.display()))?;
        let after = fs::metadata(output)?.len();
        match before {
            Some(before) => eprintln!(
                "{}: {} instead of {}",
                output.display(),
                show_bytes(after),
                show_bytes(before.len())
            ),
            None => eprintln!("{}: {}", output.display(), show_bytes(after)),
        }
        Ok(0)
    })
    .await
}
