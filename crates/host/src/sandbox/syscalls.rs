//! The table of system calls that a sandboxed process may make: seccomp.
//!
//! What is not in it ends the process ([`caught`](super::caught)), because whoever makes such a call
//! is either hijacked, and must not get to try the next one, or one that somebody forgot here, and
//! an error deep in a library would be misread there: the machine of a process that ends loses
//! nothing, and its log names the call. The only calls answered with an error are those in
//! [`ABSENT`], of which the C library knows what to do without.
//!
//! Files are landlock's to judge, so calls on paths are here only where landlock sees them:
//! changing modes, owners, times and attributes by path is not. Arguments are looked at where a
//! call can do more than is needed. Memory is never writable and executable at once: code that is
//! made at run time has to be written through one mapping of a memfd and run through another.

use std::collections::BTreeMap;
use std::ffi::c_long;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::SandboxError;

/// What one argument must be.
struct Check {
    argument: u8,
    must: Must,
}

enum Must {
    /// This number, in 32 bits.
    Be(i32),
    /// Not this number.
    NotBe(i32),
    /// Of the bits in the first, those in the second.
    HaveOf(i32, i32),
    /// A null pointer.
    BeNull,
}

/// A system call, and what its arguments must be: one list of checks, or any of several.
struct Call {
    number: c_long,
    checks: &'static [&'static [Check]],
}

/// Calls for one reason.
type Group = &'static [Call];

const fn any(number: c_long) -> Call {
    Call { number, checks: &[] }
}

const fn when(number: c_long, checks: &'static [&'static [Check]]) -> Call {
    Call { number, checks }
}

const fn be(argument: u8, value: i32) -> Check {
    Check { argument, must: Must::Be(value) }
}

const fn have_of(argument: u8, bits: i32, set: i32) -> Check {
    Check { argument, must: Must::HaveOf(bits, set) }
}

/// Answered with `ENOSYS`: of `clone3` no filter can see the flags, and without it the C library
/// takes `clone`, of which one can.
const ABSENT: [c_long; 1] = [libc::SYS_clone3];

/// How the C library makes a thread.
const THREAD: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID;
/// How it makes a process in fork(2).
const FORK: i32 = libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;

/// Reading and writing what is open.
const STREAMS: Group = &[
    any(libc::SYS_read),
    any(libc::SYS_write),
    any(libc::SYS_readv),
    any(libc::SYS_writev),
    any(libc::SYS_pread64),
    any(libc::SYS_pwrite64),
    any(libc::SYS_lseek),
    any(libc::SYS_close),
    any(libc::SYS_dup),
    any(libc::SYS_dup3),
    when(
        libc::SYS_fcntl,
        &[
            // Not F_SETOWN and F_SETSIG, which have the kernel send signals to others.
            &[be(1, libc::F_GETFD)],
            &[be(1, libc::F_SETFD)],
            &[be(1, libc::F_GETFL)],
            &[be(1, libc::F_SETFL)],
            &[be(1, libc::F_DUPFD_CLOEXEC)],
            &[be(1, libc::F_ADD_SEALS)],
            &[be(1, libc::F_GET_SEALS)],
        ],
    ),
    // Non-blocking sockets. Not TIOCSTI and its like.
    when(libc::SYS_ioctl, &[&[be(1, FIONBIO)], &[be(1, FIOCLEX)]]),
];
const FIONBIO: i32 = libc::FIONBIO as i32;
const FIOCLEX: i32 = libc::FIOCLEX as i32;

/// Journals, packs, twins' folders and what is left when a lab ends. Which, landlock says.
const FILES: Group = &[
    any(libc::SYS_openat),
    any(libc::SYS_getdents64),
    any(libc::SYS_statx),
    any(libc::SYS_fstat),
    any(libc::SYS_newfstatat),
    any(libc::SYS_faccessat),
    any(libc::SYS_faccessat2),
    any(libc::SYS_readlinkat),
    any(libc::SYS_getcwd),
    any(libc::SYS_mkdirat),
    any(libc::SYS_unlinkat),
    any(libc::SYS_renameat),
    any(libc::SYS_renameat2),
    any(libc::SYS_linkat),
    any(libc::SYS_ftruncate),
    any(libc::SYS_fallocate),
    any(libc::SYS_fsync),
    any(libc::SYS_fdatasync),
    any(libc::SYS_flock),
    any(libc::SYS_copy_file_range),
    // The control socket of a twin, by its descriptor: nobody else may use it.
    when(libc::SYS_fchmod, &[&[be(1, 0o600)]]),
];

/// The same by their old names, which this architecture still has and the C library uses.
#[cfg(target_arch = "x86_64")]
const OLD_NAMES: Group = &[
    any(libc::SYS_open),
    any(libc::SYS_stat),
    any(libc::SYS_lstat),
    any(libc::SYS_access),
    any(libc::SYS_readlink),
    any(libc::SYS_mkdir),
    any(libc::SYS_rmdir),
    any(libc::SYS_unlink),
    any(libc::SYS_rename),
    any(libc::SYS_link),
    any(libc::SYS_dup2),
    any(libc::SYS_poll),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_NAMES: Group = &[];

/// Clients, twins' control sockets, and frames to passt. Nothing is connected to from here: landlock
/// does not see connections to sockets in files, and there are sockets on a computer whose other end
/// does anything (a container engine's, a session bus, another lab's).
const SOCKETS: Group = &[
    when(libc::SYS_socket, &[&[be(0, libc::AF_UNIX)]]),
    when(libc::SYS_socketpair, &[&[be(0, libc::AF_UNIX)]]),
    any(libc::SYS_bind),
    any(libc::SYS_listen),
    any(libc::SYS_accept4),
    // A destination would be a connection.
    when(libc::SYS_sendto, &[&[Check { argument: 4, must: Must::BeNull }]]),
    any(libc::SYS_recvfrom),
    any(libc::SYS_shutdown),
    any(libc::SYS_getsockname),
    any(libc::SYS_getsockopt),
    any(libc::SYS_setsockopt),
];

/// Waiting, and what time it is. Most of the latter needs no system call.
const WAITING: Group = &[
    any(libc::SYS_ppoll),
    any(libc::SYS_futex),
    any(libc::SYS_clock_gettime),
    any(libc::SYS_clock_nanosleep),
    any(libc::SYS_nanosleep),
    any(libc::SYS_gettimeofday),
    any(libc::SYS_restart_syscall),
    any(libc::SYS_sched_yield),
];

/// Memory: the heap, guest RAM in memfds, stacks of threads. Executable only as a shared mapping
/// that cannot be written to, and what is mapped never becomes executable.
const MEMORY: Group = &[
    any(libc::SYS_brk),
    when(
        libc::SYS_mmap,
        &[
            &[have_of(2, libc::PROT_EXEC, 0)],
            &[be(2, libc::PROT_READ | libc::PROT_EXEC), be(3, libc::MAP_SHARED)],
        ],
    ),
    when(libc::SYS_mprotect, &[&[have_of(2, libc::PROT_EXEC, 0)]]),
    any(libc::SYS_munmap),
    any(libc::SYS_mremap),
    any(libc::SYS_madvise),
    any(libc::SYS_memfd_create),
];

/// Threads that write keyframes and sync, and the processes of twins. Both come as the C library
/// makes them, and inherit everything here. No program is ever run.
const PROCESSES: Group = &[
    when(libc::SYS_clone, &[&[be(0, THREAD)], &[be(0, FORK)]]),
    any(libc::SYS_set_robust_list),
    any(libc::SYS_rseq),
    any(libc::SYS_sched_getaffinity),
    // The name of a thread, and of memory; fewer privileges; what the kernel told this program at
    // its start.
    when(
        libc::SYS_prctl,
        &[
            &[be(0, libc::PR_SET_NAME)],
            &[be(0, libc::PR_SET_VMA)],
            &[be(0, libc::PR_SET_NO_NEW_PRIVS)],
            &[be(0, PR_GET_AUXV)],
        ],
    ),
    // Its own limits, to read: a thread's stack is as large as one says.
    when(libc::SYS_prlimit64, &[&[be(0, 0), Check { argument: 2, must: Must::BeNull }]]),
    any(libc::SYS_getpid),
    any(libc::SYS_gettid),
    any(libc::SYS_getuid),
    any(libc::SYS_geteuid),
    any(libc::SYS_setsid),
    any(libc::SYS_pidfd_open),
    any(libc::SYS_wait4),
    any(libc::SYS_waitid),
    any(libc::SYS_exit),
    any(libc::SYS_exit_group),
    any(libc::SYS_getrandom),
];

const PR_GET_AUXV: i32 = 0x4155_5856;

/// Having less: what a twin for somebody else does (`super::narrow`).
const LESS: Group = &[
    any(libc::SYS_landlock_create_ruleset),
    any(libc::SYS_landlock_add_rule),
    any(libc::SYS_landlock_restrict_self),
];

/// Handling signals. None is sent, to nobody: passt ends with its socket, and an abort ends the
/// process here.
const SIGNALS: Group = &[
    // The end of a process that calls something else stays as it is.
    when(libc::SYS_rt_sigaction, &[&[Check { argument: 0, must: Must::NotBe(libc::SIGSYS) }]]),
    any(libc::SYS_rt_sigprocmask),
    any(libc::SYS_rt_sigreturn),
    any(libc::SYS_sigaltstack),
];

const TABLE: [Group; 9] =
    [STREAMS, FILES, OLD_NAMES, SOCKETS, WAITING, MEMORY, PROCESSES, LESS, SIGNALS];

/// Restricts this process to the table.
pub(super) fn restrict() -> Result<(), SandboxError> {
    let failed = |error: &dyn std::fmt::Display| SandboxError::Seccomp(error.to_string());
    for filter in [absent(), table()] {
        let program = filter.map_err(|error| failed(&error))?;
        seccompiler::apply_filter_all_threads(&program).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Lets all pass but [`ABSENT`]. The kernel takes the strictest answer of all filters.
fn absent() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = ABSENT.into_iter().map(|number| (number, Vec::new())).collect();
    compile(rules, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))
}

/// Lets [`ABSENT`] and what is in the table pass.
fn table() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ABSENT.into_iter().map(|number| (number, Vec::new())).collect();
    for call in TABLE.iter().copied().flatten() {
        let alternatives = call.checks.iter().map(|checks| {
            let conditions = checks.iter().map(Check::condition).collect::<Result<_, _>>()?;
            SeccompRule::new(conditions)
        });
        rules.insert(call.number, alternatives.collect::<Result<_, _>>()?);
    }
    compile(rules, SeccompAction::Trap, SeccompAction::Allow)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    others: SeccompAction,
    these: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    SeccompFilter::new(rules, others, these, std::env::consts::ARCH.try_into()?)?.try_into()
}

impl Check {
    fn condition(&self) -> Result<SeccompCondition, seccompiler::BackendError> {
        use SeccompCmpArgLen::{Dword, Qword};
        let bits = |value: i32| u64::from(value.cast_unsigned());
        let (length, operator, value) = match self.must {
            Must::Be(value) => (Dword, SeccompCmpOp::Eq, bits(value)),
            Must::NotBe(value) => (Dword, SeccompCmpOp::Ne, bits(value)),
            Must::HaveOf(of, set) => (Dword, SeccompCmpOp::MaskedEq(bits(of)), bits(set)),
            Must::BeNull => (Qword, SeccompCmpOp::Eq, 0),
        };
        SeccompCondition::new(self.argument, length, operator, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_in_the_table_once() {
        let mut numbers: Vec<c_long> =
            TABLE.iter().copied().flatten().map(|call| call.number).collect();
        numbers.extend(ABSENT);
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }
}
