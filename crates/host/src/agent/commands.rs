//! The agent's commands that labs use, and their answers. Names and shapes are those of QEMU's
//! `qga/qapi-schema.json`.

use serde_json::{Value, json};

use super::{AgentError, Answer, Call};

/// How long an answer may take, in nanoseconds of virtual time. Generous: a guest may be starting.
const TIMEOUT_NS: u64 = 60_000_000_000;
/// How long the agent may take to refuse a shutdown.
const SHUTDOWN_NS: u64 = 5_000_000_000;

/// A process id in the guest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GuestPid(pub u64);

/// What became of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExecStatus {
    /// It has not ended.
    Running,
    /// It has ended; its exit code, or 128 + the number of the signal that ended it.
    Exited(u8),
}

/// `guest-exec` of `path` with `arguments`, its output not captured.
pub fn exec(path: &str, arguments: &[String]) -> Call {
    let arguments = json!({ "path": path, "arg": arguments, "capture-output": false });
    Call { name: "guest-exec", arguments, answer: Answer::Always, timeout_ns: TIMEOUT_NS }
}

/// The process that `guest-exec` started.
///
/// # Errors
/// [`AgentError::Malformed`].
pub fn exec_pid(answer: &Value) -> Result<GuestPid, AgentError> {
    answer["pid"].as_u64().map(GuestPid).ok_or_else(|| malformed("guest-exec", answer))
}

/// `guest-exec-status` of a process. The agent forgets an ended process when it has answered.
pub fn exec_status(pid: GuestPid) -> Call {
    let arguments = json!({ "pid": pid.0 });
    Call { name: "guest-exec-status", arguments, answer: Answer::Always, timeout_ns: TIMEOUT_NS }
}

/// What `guest-exec-status` says.
///
/// # Errors
/// [`AgentError::Malformed`].
pub fn exec_status_of(answer: &Value) -> Result<ExecStatus, AgentError> {
    let wrong = || malformed("guest-exec-status", answer);
    if !answer["exited"].as_bool().ok_or_else(wrong)? {
        return Ok(ExecStatus::Running);
    }
    // A code above 255 exists only on other systems; its low byte could look like success.
    let code = match (answer["exitcode"].as_u64(), answer["signal"].as_u64()) {
        (_, Some(signal)) => 128_u64.saturating_add(signal).min(255),
        (Some(code), None) => code.min(255),
        (None, None) => return Err(wrong()),
    };
    Ok(ExecStatus::Exited(code as u8))
}

/// `guest-shutdown`: power off.
pub fn shutdown() -> Call {
    let arguments = json!({ "mode": "powerdown" });
    let (answer, timeout_ns) = (Answer::OnlyErrors, SHUTDOWN_NS);
    Call { name: "guest-shutdown", arguments, answer, timeout_ns }
}

/// `guest-set-time` to `unix_ns` nanoseconds since 1970.
pub fn set_time(unix_ns: u64) -> Call {
    let arguments = json!({ "time": unix_ns });
    Call { name: "guest-set-time", arguments, answer: Answer::Always, timeout_ns: TIMEOUT_NS }
}

fn malformed(command: &'static str, answer: &Value) -> AgentError {
    AgentError::Malformed { command, answer: answer.to_string().chars().take(80).collect() }
}
