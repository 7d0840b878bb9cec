//! `stackvm record`.

use std::path::PathBuf;

use clap::Args;

use super::MachineArgs;

#[derive(Args)]
#[command(after_help = "\
Examples:
  stackvm record tiny                         a session, in tiny-DATE.vmcast; Ctrl-] opens a menu
  stackvm record tiny -o demo.vmcast          the same, in demo.vmcast
  stackvm record tiny -o t.vmcast -- make     a command's run, as fast as it goes
  stackvm record tiny -o red.vmcast --on-fail -- make test
                                              the same, kept only when it fails: a red build ships
                                              the machine at the moment of failure
  stackvm record web -o web.vmcast            the running machine web, until Ctrl-C
  stackvm record --continue demo.vmcast       go on where a recording ended or its process died

While it is recorded, everything is in FILE.journal; what is there survives the end of any process.
`stackvm play FILE` plays the recording.")]
pub(crate) struct Record {
    /// Image to start, or name of a running machine
    #[arg(value_name = "IMAGE|MACHINE",
          required_unless_present_any = ["kernel", "firmware", "continue"])]
    pub(crate) image: Option<String>,
    /// File to write [default: NAME-DATE.vmcast]
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace FILE if it is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Go on with this recording: one whose process died, or a finished one
    #[arg(long = "continue", id = "continue", value_name = "FILE",
          conflicts_with_all = ["image", "kernel", "firmware", "output", "force", "on_fail", "command"])]
    pub(crate) continued: Option<PathBuf>,
    /// Keep the recording only if COMMAND fails: if its exit code is not 0
    #[arg(long, requires = "command")]
    pub(crate) on_fail: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Command to run in the guest, without a terminal and as fast as it goes; two such recordings
    /// with one --seed are the same
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["kernel", "firmware"])]
    pub(crate) command: Vec<String>,
}
