//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use stackvm_host::machines::Keep;
use stackvm_host::net_user::Forward;
use stackvm_host::sandbox::Sandbox;
use stackvm_machine::instant::Ticks;

use crate::format::{DetachArgs, FormatArgs};
use crate::values;

mod cast;
mod debug;
mod fork;
mod moments;
mod play;
mod record;
mod share;
mod store;
mod up;

pub(crate) use cast::*;
pub(crate) use debug::{Debug, Jit};
pub(crate) use fork::Fork;
pub(crate) use moments::Moments;
pub(crate) use play::{Log, Play};
pub(crate) use record::Record;
pub(crate) use share::*;
pub(crate) use store::*;
pub(crate) use up::{OnExit, Up};

/// Deterministic RISC-V virtual machines, in your terminal and in your browser.
#[derive(Parser)]
#[command(name = "stackvm", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// How machines that are started here execute instructions; what they compute is the same
    #[arg(long, global = true, value_enum, default_value_t = Engine::Jit, hide_short_help = true)]
    pub(crate) engine: Engine,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How instructions are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Engine {
    /// Hot code is compiled for this computer's processor, where there is a compiler for it
    Jit,
    /// One by one
    Interp,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Prepare a Linux machine and put its prompt in the browser
    Up(Up),
    /// End the server
    Down,
    /// Open a browser at the running server
    Open(Open),
    /// Make, list and revoke links to a machine
    Share(Box<Share>),
    /// Write a report of a machine as it is now: a link to that moment, and text for a forum
    Report(Report),
    /// Show what people did at a machine: lines they entered, names they gave instants
    Events(Events),
    /// List what is kept of a machine's past, moments and recordings, or keep one more
    Moments(Moments),
    /// Run a machine in this terminal, or one command in it
    Run(Box<Run>),
    /// Start a named machine again and attach to it
    Start(Start),
    /// Join the terminal of a running machine; Ctrl-] leaves
    Attach(Attach),
    /// Run a command in a running machine
    Exec(Exec),
    /// Record a machine: everything that happens to it, in one file
    Record(Box<Record>),
    /// Play a recording in this terminal; b breaks in
    Play(Play),
    /// Show the branches of a recording, or the machines that go on from one another
    Log(Log),
    /// Look into recordings, check, export and search them
    #[command(subcommand)]
    Cast(Cast),
    /// Make a running machine's twin, or a machine that goes on from an instant of another's past
    Fork(Fork),
    /// Care for the store of chunks
    #[command(subcommand)]
    Store(Store),
    /// List machines
    Ls(List),
    /// Stop machines, keeping their state
    Stop(Stop),
    /// Hold the time of running machines
    Pause(Hold),
    /// Let the time of paused machines go on
    Resume(Hold),
    /// Call a machine something else
    Rename(Rename),
    /// Remove stopped machines with their disks
    Rm(Remove),
    /// Build and keep what machines start from
    #[command(subcommand)]
    Image(Image),
    /// Look inside
    #[command(subcommand, hide = true)]
    Debug(Debug),
    /// The process of a lab; started by the other commands
    #[command(hide = true)]
    Lab(Lab),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  stackvm run tiny                           a small Linux; Ctrl-] opens a menu
  stackvm run tiny -- uname -m               one command: its output, its exit code
  stackvm run debian --net user -p 8080:80   Debian with network
  stackvm run tiny --name box --detach -q    in the background; prints its id
  stackvm run --kernel fw.elf                anything made for QEMU's RISC-V virt board
  stackvm run tiny --until 5s --digest       the state after 5 virtual seconds, as a hash")]
pub(crate) struct Run {
    /// Image to start from: tiny, debian, or an imported one
    #[arg(value_name = "IMAGE", required_unless_present_any = ["kernel", "firmware"])]
    pub(crate) image: Option<String>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Record everything that happens to the machine, in this new file
    #[arg(long, value_name = "FILE", conflicts_with = "until")]
    pub(crate) record: Option<PathBuf>,
    /// Run from cold to this virtual instant without any input, then end
    #[arg(long, value_name = "TIME", value_parser = values::span,
          conflicts_with_all = ["name", "tty", "command", "net", "publish", "detach"])]
    pub(crate) until: Option<Ticks>,
    /// Print the digest of the state reached, and nothing else
    #[arg(long, requires = "until")]
    pub(crate) digest: bool,
    /// Give the command a terminal
    #[arg(short = 't', long = "tty", requires = "command")]
    pub(crate) tty: bool,
    #[command(flatten)]
    pub(crate) detach: DetachArgs,
    /// Command to run in the guest instead of joining its terminal
    #[arg(last = true, value_name = "COMMAND",
          conflicts_with_all = ["kernel", "firmware", "detach"])]
    pub(crate) command: Vec<String>,
}

/// What a new machine is made of, beside the image.
#[derive(Args)]
pub(crate) struct MachineArgs {
    /// Kernel instead of an image: a RISC-V ELF or Linux Image
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    pub(crate) kernel: Option<PathBuf>,
    /// Initial RAM disk for --kernel
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    pub(crate) initrd: Option<PathBuf>,
    /// Raw disk; writes are kept apart, the file never changes. The first is vda (with an image:
    /// the first after the image's own)
    #[arg(long = "disk", value_name = "FILE")]
    pub(crate) disks: Vec<PathBuf>,
    /// Command line of the kernel
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, conflicts_with = "image")]
    pub(crate) append: Option<String>,
    /// Firmware below the kernel: builtin, none, or a file such as OpenSBI or U-Boot
    /// [default: none for an ELF with a tohost symbol or an entry at the start of RAM,
    /// else builtin]
    #[arg(long, value_name = "builtin|none|FILE", conflicts_with = "image")]
    pub(crate) firmware: Option<String>,
    /// Boot, instead of starting from the image's prompt as it is kept
    #[arg(long)]
    pub(crate) cold: bool,
    /// Memory, such as 512M or 1G [default: the image's, or 256M]
    #[arg(long, value_name = "SIZE", value_parser = values::memory)]
    pub(crate) mem: Option<u64>,
    /// Number of harts (CPUs)
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) harts: u32,
    /// Network: user (through passt, no root needed)
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Net::None)]
    pub(crate) net: Net,
    /// Lead a TCP port of this computer's loopback to one of the guest (with --net user)
    #[arg(short = 'p', long = "publish", value_name = "HOST:GUEST", value_parser = values::forward)]
    pub(crate) publish: Vec<Forward>,
    /// Keep the machine, its disk and state, under this name
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) name: Option<String>,
    /// How much of its history a kept machine keeps: so long, such as 8h or 7d, and so much, such as
    /// 500M, or one of both [default: 24h,1G]
    #[arg(long, value_name = "TIME,SIZE", value_parser = values::keep, requires = "name")]
    pub(crate) keep: Option<Keep>,
    /// Keep no history: the machine goes on where it was, and nobody looks back
    #[arg(long, requires = "name", conflicts_with = "keep")]
    pub(crate) no_history: bool,
    /// Offer Sv48 address translation beside Sv39
    #[arg(long)]
    pub(crate) sv48: bool,
    /// Everything random in the machine comes from this number [default: random; with --until 0]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Debian mirror, if the image has to be built first
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
}

/// Whether the machine's process is locked in.
#[derive(Args, Clone, Copy)]
pub(crate) struct SandboxArgs {
    /// Run the machine's process without its sandbox: a guest that breaks out has your files
    #[arg(long)]
    no_sandbox: bool,
}

impl SandboxArgs {
    pub(crate) fn mode(self) -> Sandbox {
        if self.no_sandbox { Sandbox::Off } else { Sandbox::On }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Net {
    /// No network
    None,
    /// Through passt
    User,
}

#[derive(Args)]
pub(crate) struct Start {
    /// Name of the machine
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) detach: DetachArgs,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
}

#[derive(Args)]
pub(crate) struct Attach {
    /// Name of the machine
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
}

#[derive(Args)]
pub(crate) struct Exec {
    /// Name of the machine
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
    /// Give the command a terminal
    #[arg(short = 't', long = "tty")]
    pub(crate) tty: bool,
    /// Command to run in the guest
    #[arg(last = true, value_name = "COMMAND", required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Args)]
pub(crate) struct Hold {
    /// Names of the machines
    #[arg(value_name = "MACHINE", required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Args)]
pub(crate) struct Stop {
    /// Names of the machines
    #[arg(value_name = "MACHINE", required = true)]
    pub(crate) names: Vec<String>,
    /// Ask the guest to shut down instead of keeping its state
    #[arg(long, conflicts_with = "kill")]
    pub(crate) power_off: bool,
    /// Switch it off at once, as if the plug were pulled
    #[arg(long)]
    pub(crate) kill: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Args)]
pub(crate) struct Remove {
    /// Names of the machines
    #[arg(value_name = "MACHINE", required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Subcommand)]
pub(crate) enum Image {
    /// Build an image from Debian's packages
    Build {
        /// tiny or debian
        name: String,
        /// Debian mirror to take packages from [default: the one of this computer's apt]
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
    /// List images
    Ls {
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Remove images
    Rm {
        /// Names of the images
        #[arg(required = true, value_name = "IMAGE")]
        names: Vec<String>,
    },
    /// Write an image to one file, for a computer that cannot build it
    Export {
        /// Name of the image
        #[arg(value_name = "IMAGE")]
        name: String,
        /// File to write
        file: PathBuf,
    },
    /// Take an image from a file that `export` wrote
    Import {
        /// The file
        file: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Lab {
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    /// Replay the machine's past as asked on standard input
    #[arg(long)]
    pub(crate) replays: bool,
    /// The machine's folder
    pub(crate) dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let check = |line: &str, fine: bool| {
            let seen = Cli::try_parse_from(line.split(' '));
            assert_eq!(seen.is_ok(), fine, "{line}");
        };
        check("stackvm run tiny", true);
        check("stackvm run tiny -- uname -m", true);
        check("stackvm run -t tiny -- sh", true);
        check("stackvm run --kernel k --append console=ttyS0", true);
        check("stackvm run --kernel k --append -x", true);
        check("stackvm run --firmware f", true);
        check("stackvm run tiny --until 5s --digest", true);
        check("stackvm run", false);
        check("stackvm run tiny --kernel k", false);
        check("stackvm run tiny --initrd i", false);
        check("stackvm run tiny -t", false);
        check("stackvm run tiny --digest", false);
        check("stackvm run tiny --until 5s -- true", false);
        check("stackvm run --kernel k -- true", false);
        check("stackvm run tiny --detach -q", true);
        check("stackvm run tiny -q", false);
        check("stackvm run tiny --detach --json -q", false);
        check("stackvm run tiny --detach -- true", false);
        check("stackvm run tiny --detach --until 5s", false);
        check("stackvm start box --json", false);
        check("stackvm run tiny --mem 12", false);
        check("stackvm run tiny --name A/B", false);
        check("stackvm run tiny -p 80", false);
        check("stackvm rm", false);
        check("stackvm fork web web-2 --at 83.5 -q", true);
        check("stackvm fork web --at soon", false);
        check("stackvm fork web --at 83.5 --exact", false);
        check("stackvm moments web", true);
        check("stackvm moments web --keep --at 83.5 --as then", true);
        check("stackvm moments web --record 10..83.5 --json", true);
        check("stackvm moments web --at 83.5", false);
        check("stackvm moments web --as then", false);
        check("stackvm moments web --keep --record 10..83.5", false);
        check("stackvm moments web --record 83.5..10", false);
    }
}
