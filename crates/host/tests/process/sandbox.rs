//! What a hijacked lab can do: everything a guest that has broken out might try, each in a process
//! of its own that has locked itself in as labs do. Each attempt is made outside as well, where it
//! must succeed: otherwise it would prove nothing.

#![expect(unsafe_code, reason = "does what code does that has been taken over")]

use std::ffi::{OsString, c_int, c_long};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use rustix::process::{Pid, PidfdFlags, Resource, Signal};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use stackvm_host::machines::{Access, DiskSpec, Lifetime, MachineSpec, Machines, StopHow};
use stackvm_host::sandbox::{self, Plan, Sandbox};

use super::{Labs, kernel};

/// Exit codes of a child whose attempt was refused, and of one that could not make it.
const REFUSED: u8 = 3;
const BROKEN: u8 = 4;
/// What [`sandbox`] promises for a call that is not in its table.
const ENDED: i32 = 128 + libc::SIGSYS;

/// What becomes of an attempt inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It is what labs do.
    Done,
    /// An error, and the process goes on.
    Refused,
    /// The process ends, and says which call it was.
    Ended,
}
use Fate::{Done, Ended, Refused};

/// Where attempts are made.
struct Ground {
    /// Holds `own`, `shown` (to read), `kept` (to empty) and `sibling`, another lab's, with a
    /// `secret` and a socket.
    root: PathBuf,
    /// The sibling's process.
    sibling: Pid,
    /// Whether the process has locked itself in.
    is_inside: bool,
}

type Attempt = fn(&Ground) -> io::Result<()>;

const ATTEMPTS: [(&str, Fate, Attempt); 51] = [
    ("write own file", Done, |at| fs::write(at.own("new"), "x")),
    ("remove own file", Done, |at| fs::remove_file(at.own("old"))),
    ("move own file", Done, |at| fs::rename(at.own("old"), at.own("folder/old"))),
    ("link own file", Done, |at| fs::hard_link(at.own("old"), at.own("folder/old"))),
    ("list own folder", Done, |at| fs::read_dir(at.own("")).map(drop)),
    ("own socket", Done, |at| UnixListener::bind(at.own("socket")).map(drop)),
    ("read what is shown", Done, |at| fs::read(at.root.join("shown")).map(drop)),
    ("write what is left to a visitor's", Done, |at| {
        at.narrow()?;
        fs::write(at.own("folder/new"), "x")
    }),
    ("read beside what is left to a visitor's", Refused, |at| {
        at.narrow()?;
        fs::read(at.own("old")).map(drop)
    }),
    ("write beside what is left to a visitor's", Refused, |at| {
        at.narrow()?;
        fs::write(at.own("new"), "x")
    }),
    ("take back what was left out", Refused, |at| {
        at.narrow()?;
        at.widen()?;
        fs::write(at.own("new"), "x")
    }),
    ("thread", Done, |_| std::thread::Builder::new().spawn(|| {})?.join().map_err(|_| broken())),
    ("code in two mappings", Done, |_| two_mappings()),
    ("write what is shown", Refused, |at| append(&at.root.join("shown"))),
    ("remove what is kept", Done, |at| fs::remove_file(at.root.join("kept/spec"))),
    ("change what is kept", Refused, |at| append(&at.root.join("kept/spec"))),
    ("replace what is kept", Refused, |at| fs::rename(at.own("old"), at.root.join("kept/spec"))),
    ("read a sibling's file", Refused, |at| fs::read(at.secret()).map(drop)),
    ("write a sibling's file", Refused, |at| append(&at.secret())),
    ("truncate a sibling's file", Refused, |at| File::create(at.secret()).map(drop)),
    ("remove a sibling's file", Refused, |at| fs::remove_file(at.secret())),
    ("list a sibling's folder", Refused, |at| fs::read_dir(at.root.join("sibling")).map(drop)),
    ("link a sibling's file", Refused, |at| fs::hard_link(at.secret(), at.own("secret"))),
    ("take a sibling's file", Refused, |at| fs::rename(at.secret(), at.own("secret"))),
    ("leave a file", Refused, |at| fs::rename(at.own("old"), at.root.join("old"))),
    ("write elsewhere", Refused, |at| fs::write(at.root.join("new"), "x")),
    ("read /etc/passwd", Refused, |_| fs::read("/etc/passwd").map(drop)),
    ("read a sibling's environment", Refused, |at| fs::read(at.proc("environ")).map(drop)),
    ("read a sibling's memory", Refused, |at| File::open(at.proc("mem")).map(drop)),
    ("list processes", Refused, |_| fs::read_dir("/proc").map(drop)),
    ("fork, and read a sibling's file", Refused, fork_and_read),
    ("link by name", Ended, |at| symlink(at.secret(), at.own("secret"))),
    ("change modes", Ended, |at| {
        fs::set_permissions(at.secret(), fs::Permissions::from_mode(0o644))
    }),
    ("listen on TCP", Ended, |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("UDP", Ended, |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("netlink", Ended, |_| {
        use rustix::net::{AddressFamily, SocketType, socket};
        socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
        Ok(())
    }),
    ("talk to a sibling", Ended, |at| {
        UnixStream::connect(at.root.join("sibling/socket")).map(drop)
    }),
    ("trace a sibling", Ended, trace),
    ("look into a sibling", Ended, look_into),
    ("signal a sibling", Ended, |at| Ok(rustix::process::kill_process(at.sibling, Signal::CONT)?)),
    ("signal a sibling by descriptor", Ended, |at| {
        let sibling = rustix::process::pidfd_open(at.sibling, PidfdFlags::empty())?;
        Ok(rustix::process::pidfd_send_signal(sibling, Signal::CONT)?)
    }),
    ("have the kernel signal a sibling", Ended, |at| {
        let (ours, _theirs) = UnixStream::pair()?;
        let pid = at.sibling.as_raw_nonzero().get();
        // SAFETY: takes no pointers.
        result(unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_SETOWN, pid) })
    }),
    ("run a program", Ended, |_| Err(Command::new("/bin/true").exec())),
    ("spawn a program", Ended, |_| Command::new("/bin/true").status().map(drop)),
    // SAFETY: takes no pointers.
    ("leave groups of the kernel's", Ended, |_| result(unsafe { libc::unshare(libc::CLONE_FS) })),
    // SAFETY: takes no pointers.
    ("another personality", Ended, |_| result(unsafe { libc::personality(0xffff_ffff) })),
    ("raise limits", Ended, |_| {
        let limit = rustix::process::getrlimit(Resource::Nofile);
        Ok(rustix::process::setrlimit(Resource::Nofile, limit)?)
    }),
    ("handle its own end", Ended, |_| {
        // SAFETY: to ignore a signal is no handler that could be wrong.
        let before = unsafe { libc::signal(libc::SIGSYS, libc::SIG_IGN) };
        if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
    }),
    ("other controls of devices", Ended, |_| {
        let (ours, _theirs) = UnixStream::pair()?;
        rustix::io::ioctl_fionread(&ours)?;
        Ok(())
    }),
    ("code that can be written", Ended, |_| {
        anonymous(ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC, MprotectFlags::empty())
    }),
    ("code that could be written", Ended, |_| {
        anonymous(ProtFlags::READ | ProtFlags::WRITE, MprotectFlags::READ | MprotectFlags::EXEC)
    }),
];

impl Ground {
    /// A new one below `root`.
    fn make(root: &Path, sibling: Pid) -> Ground {
        // What was there is of the attempt before.
        let _ = fs::remove_dir_all(root);
        fs::create_dir_all(root.join("own/folder")).unwrap();
        fs::create_dir(root.join("sibling")).unwrap();
        fs::create_dir(root.join("kept")).unwrap();
        for file in ["own/old", "shown", "sibling/secret", "kept/spec"] {
            fs::write(root.join(file), file).unwrap();
        }
        Ground { root: root.to_owned(), sibling, is_inside: false }
    }

    /// Leaves this process less, if it is locked in, as a visitor's twin is left.
    fn narrow(&self) -> io::Result<()> {
        self.plan(self.own("folder"))
    }

    /// Asks for it all again.
    fn widen(&self) -> io::Result<()> {
        self.plan(self.own(""))
    }

    fn plan(&self, own: PathBuf) -> io::Result<()> {
        if !self.is_inside {
            return Ok(());
        }
        sandbox::narrow(&Plan { own: vec![own], ..Plan::default() }).map_err(|error| {
            eprintln!("{error:?}");
            broken()
        })
    }

    fn own(&self, name: &str) -> PathBuf {
        self.root.join("own").join(name)
    }

    fn secret(&self) -> PathBuf {
        self.root.join("sibling/secret")
    }

    fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.sibling.as_raw_nonzero())
    }
}

fn append(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path)?.write_all(b"x")
}

fn broken() -> io::Error {
    io::Error::other("this should not have happened")
}

fn result(done: c_int) -> io::Result<()> {
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Twins are made with fork(2); they are no freer.
fn fork_and_read(at: &Ground) -> io::Result<()> {
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        std::process::exit(i32::from(code(fs::read(at.secret()).map(drop))));
    }
    result(child)?;
    let child = Pid::from_raw(child).ok_or_else(broken)?;
    let ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())?;
    match ended.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(REFUSED) => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Err(broken()),
    }
}

fn trace(at: &Ground) -> io::Result<()> {
    let pid = at.sibling.as_raw_nonzero().get();
    let none = std::ptr::null_mut::<u8>();
    // SAFETY: attaching and letting go take no pointers.
    unsafe {
        result(libc::ptrace(libc::PTRACE_ATTACH, pid, none, none) as c_int)?;
        result(libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL))?;
        result(libc::ptrace(libc::PTRACE_DETACH, pid, none, none) as c_int)
    }
}

/// Reads a byte of the sibling's memory. That there is none at this address is as good: the kernel
/// says so only to those who may look.
fn look_into(at: &Ground) -> io::Result<()> {
    let mut byte = 0_u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let there = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 1 };
    let pid = at.sibling.as_raw_nonzero().get();
    // SAFETY: `here` is valid; what is there is the kernel's to check.
    let read = unsafe { libc::process_vm_readv(pid, &here, 1, &there, 1, 0) };
    match result(read as c_int) {
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        other => other,
    }
}

/// Maps a page, and makes it something else if `then` says what.
fn anonymous(first: ProtFlags, then: MprotectFlags) -> io::Result<()> {
    // SAFETY: a new mapping, which nothing refers to.
    unsafe {
        let page =
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), 4096, first, MapFlags::PRIVATE)?;
        if !then.is_empty() {
            rustix::mm::mprotect(page, 4096, then)?;
        }
    }
    Ok(())
}

/// What a compiler of code at run time does: it writes through one mapping, and runs another.
fn two_mappings() -> io::Result<()> {
    let memory = File::from(rustix::fs::memfd_create("code", MemfdFlags::CLOEXEC)?);
    memory.set_len(4096)?;
    // SAFETY: new mappings of a file of this size.
    let (write, run) = unsafe {
        let map = |protection| {
            let anywhere = std::ptr::null_mut();
            rustix::mm::mmap(anywhere, 4096, protection, MapFlags::SHARED, &memory, 0)
        };
        (map(ProtFlags::READ | ProtFlags::WRITE)?, map(ProtFlags::READ | ProtFlags::EXEC)?)
    };
    #[cfg(target_arch = "x86_64")]
    {
        let code = [0xb8_u8, 42, 0, 0, 0, 0xc3]; // mov eax, 42; ret
        // SAFETY: the code fits the mapping, and is a function without arguments that gives a number.
        let answer = unsafe {
            write.cast::<u8>().copy_from_nonoverlapping(code.as_ptr(), code.len());
            std::mem::transmute::<*mut std::ffi::c_void, extern "C" fn() -> c_int>(run)()
        };
        assert_eq!(answer, 42);
    }
    assert_ne!(write, run);
    Ok(())
}

fn code(result: io::Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::CrossesDevices => REFUSED,
            _ => {
                eprintln!("{error}");
                BROKEN
            }
        },
    }
}

/// The child's main: makes one attempt, `inside` the sandbox or `outside`; or is the sibling.
pub(super) fn hijacked(place: &str, attempt: &str, ground: &[&str]) -> ExitCode {
    if place == "sibling" {
        // Where the kernel asks for consent to be traced, it is given: only the sandbox may matter.
        // SAFETY: takes no pointers. Kernels that do not ask refuse this, which is as good.
        unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
        println!("ready");
        // Until its parent is gone.
        let _ = io::stdin().read(&mut [0]);
        return ExitCode::SUCCESS;
    }
    let [root, sibling] = ground else { panic!("{ground:?}") };
    let sibling = Pid::from_raw(sibling.parse().unwrap()).unwrap();
    let is_inside = place == "inside";
    let ground = Ground { root: PathBuf::from(root), sibling, is_inside };
    if is_inside {
        let (own, read) = (vec![ground.own("")], vec![ground.root.join("shown")]);
        let emptied = vec![ground.root.join("kept")];
        sandbox::enter(&Plan { own, read, emptied, ..Plan::default() }).unwrap();
    }
    let (_, _, attempt) = ATTEMPTS.iter().find(|(name, ..)| *name == attempt).unwrap();
    ExitCode::from(code(attempt(&ground)))
}

pub(super) fn a_hijacked_lab_reaches_nothing(data: &Path) {
    let this = std::env::current_exe().unwrap();
    let mut sibling = Command::new(&this)
        .args(["hijacked", "sibling", ""])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sibling.stdout.take().unwrap().read_exact(&mut [0; 6]).unwrap();
    let pid = Pid::from_raw(sibling.id() as i32).unwrap();
    let attempt = |place: &str, name: &str| {
        let ground = Ground::make(&data.join("ground"), pid);
        let _listener = UnixListener::bind(ground.root.join("sibling/socket")).unwrap();
        let arguments: [OsString; 5] = [
            "hijacked".into(),
            place.into(),
            name.into(),
            ground.root.into(),
            pid.as_raw_nonzero().to_string().into(),
        ];
        Command::new(&this).args(arguments).output().unwrap()
    };
    let mut wrong = Vec::new();
    for (name, fate, _) in ATTEMPTS {
        let (outside, inside) = (attempt("outside", name), attempt("inside", name));
        if !outside.status.success() {
            wrong.push(format!("{name}, outside: {outside:?}"));
        }
        let words = String::from_utf8_lossy(&inside.stderr);
        let is_as_expected = match (fate, inside.status.code()) {
            (Done, Some(0)) => true,
            (Refused, Some(code)) => code == i32::from(REFUSED),
            (Ended, Some(ENDED)) => words.contains("made system call"),
            // The signal was blocked: the kernel's end, without a word.
            (Ended, None) => inside.status.signal() == Some(libc::SIGSYS),
            _ => false,
        };
        if !is_as_expected {
            wrong.push(format!("{name}, inside, where it should be {fate:?}: {inside:?}"));
        }
    }
    end(sibling);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn end(mut sibling: Child) {
    drop(sibling.stdin.take());
    sibling.wait().unwrap();
}

pub(super) fn labs_are_locked_in(data: &Path) {
    let check = |name: &str, sandbox: Sandbox, seccomp: &str| {
        let machines = Labs(Machines::open(data).unwrap().with_sandbox(sandbox));
        let spec = MachineSpec {
            memory_bytes: Some(4 << 20),
            lifetime: Lifetime::Named,
            ..MachineSpec::new(name, kernel(data))
        };
        machines.create(&spec).unwrap();
        let info = machines.info(name).unwrap();
        assert_eq!(info.sandbox, sandbox);
        assert_eq!(info.annex.is_some(), sandbox == Sandbox::On);
        let status = fs::read_to_string(format!("/proc/{}/status", info.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with("Seccomp:")).unwrap();
        assert_eq!(line, format!("Seccomp:\t{seccomp}"));
    };
    check("locked", Sandbox::On, "2");
    check("open", Sandbox::Off, "0");
}

/// What the kernel lacks, the call that it does not know then, and what the lab names.
const LACKING: [(&str, c_long); 2] =
    [("landlock", libc::SYS_landlock_create_ruleset), ("seccomp", libc::SYS_seccomp)];

/// The child's main, on a kernel that lacks something: what comes of starting a machine with and
/// without a sandbox.
pub(super) fn lacking(what: &str, data: &Path) -> ExitCode {
    let (_, call) = LACKING.iter().find(|(name, _)| *name == what).unwrap();
    let rules = [(*call, Vec::new())].into_iter().collect();
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, absent, arch).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
    let spec =
        MachineSpec { memory_bytes: Some(4 << 20), ..MachineSpec::new("echo", kernel(data)) };
    for sandbox in [Sandbox::On, Sandbox::Off] {
        let machines = Labs(Machines::open(data).unwrap().with_sandbox(sandbox));
        match machines.create(&spec) {
            Ok(_) => println!("runs with {:?}", machines.info("echo").unwrap().sandbox),
            Err(error) => println!("{error}"),
        }
    }
    ExitCode::SUCCESS
}

/// A guest that breaks out must not find an open door because the kernel is an old one: the lab
/// does not start, and says what to do.
pub(super) fn a_kernel_without_sandboxes_is_named(data: &Path) {
    for (what, _) in LACKING {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let ran =
            child.args([OsString::from("lacking"), what.into(), data.into()]).output().unwrap();
        assert!(ran.status.success(), "{what}: {ran:?}");
        let said = String::from_utf8(ran.stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        let [refused, runs] = lines[..] else { panic!("{what}: {said}") };
        for word in ["this kernel cannot", what, "--no-sandbox"] {
            assert!(refused.contains(word), "{what}: no {word:?} in {refused:?}");
        }
        assert_eq!(runs, "runs with Off", "{what}");
        assert_eq!(fs::read_dir(data.join("machines")).unwrap().count(), 0, "{what}");
    }
}

/// What a lab that was taken over wrote into its journal does not have the next one open other
/// files of this computer and show them to the guest.
pub(super) fn a_forged_journal_is_refused(data: &Path) {
    let file = |name: &str| {
        let path = data.join(name);
        fs::write(&path, vec![b'x'; 4096]).unwrap();
        path.canonicalize().unwrap()
    };
    let (disk, secret) = (file("disk"), file("secret"));
    let machines = Labs(Machines::open(data).unwrap());
    let spec = MachineSpec {
        memory_bytes: Some(4 << 20),
        lifetime: Lifetime::Named,
        disks: vec![DiskSpec { path: disk.clone(), access: Access::CopyOnWrite }],
        ..MachineSpec::new("echo", kernel(data))
    };
    machines.create(&spec).unwrap();
    machines.stop("echo", StopHow::Save).unwrap();
    let manifest = data.join("machines/echo/journal/manifest.json");
    let honest = fs::read_to_string(&manifest).unwrap();
    let own_kernel = data.join("echo.elf").canonicalize().unwrap();
    let climbing = data.canonicalize().unwrap().join("images/../secret");
    let check = |from: &Path, to: &Path| {
        let quoted = |path: &Path| format!("\"{}\"", path.display());
        let forged = honest.replace(&quoted(from), &quoted(to));
        assert_ne!(forged, honest);
        fs::write(&manifest, forged).unwrap();
        let error = machines.start("echo").unwrap_err().to_string();
        let named = to.display().to_string();
        assert!(error.contains("no file of this machine's") && error.contains(&named), "{error}");
    };
    check(&disk, &secret);
    check(&own_kernel, &secret);
    check(&disk, &climbing);
    fs::write(&manifest, &honest).unwrap();
    machines.start("echo").unwrap();
    machines.stop("echo", StopHow::Kill).unwrap();
}
