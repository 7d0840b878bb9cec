//! How a machine is, from what its lab, a task and the host have said.

use stackvm_host::machines::Status;
use stackvm_host::protocol::{State, StopReason};
use stackvm_machine::ConsoleId;

use super::{Condition, Fault, News};
use crate::protocol::MachineState;

/// What has been said of a machine. Its own lab knows best, then whoever starts it.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// By its lab, while one is on the line.
    lab: Option<Condition>,
    /// By a task.
    task: Option<Condition>,
    /// By the host.
    pub(super) listed: Option<Status>,
    /// How it ended when its lab was on the line last.
    ended: Option<Condition>,
    /// Why there is no line to its lab.
    unreachable: Option<String>,
}

impl Told {
    pub(super) fn condition(&self) -> Condition {
        if let Some(condition) = self.lab.as_ref().or(self.task.as_ref()) {
            return condition.clone();
        }
        match (&self.listed, &self.ended) {
            // It has said that it ends; the host will see that in a moment.
            (Some(Status::Running), Some(ended)) => ended.clone(),
            (Some(Status::Running), None) => match &self.unreachable {
                Some(reason) => Condition {
                    state: MachineState::Failed,
                    detail: reason.clone(),
                    action: "Stop the machine, then start it again.".into(),
                },
                None => plain(MachineState::Starting),
            },
            (Some(Status::Saved), _) => plain(MachineState::Saved),
            (Some(Status::Crashed), _) => Condition {
                detail: "its process was killed; started again, it goes on from there".into(),
                ..plain(MachineState::Saved)
            },
            (Some(Status::Off) | None, ended) => {
                ended.clone().unwrap_or_else(|| plain(MachineState::Stopped))
            }
        }
    }

    pub(super) fn tell(&mut self, news: News) {
        self.task = match news {
            News::Progress(_) => Some(plain(MachineState::Preparing)),
            News::Starting => Some(plain(MachineState::Starting)),
            News::Failed(Fault { what, action }) => {
                Some(Condition { state: MachineState::Failed, detail: what, action })
            }
            News::Off => None,
        };
    }

    /// Whether a task is making or starting it.
    pub(super) fn is_pending(&self) -> bool {
        let state = self.task.as_ref().map(|condition| condition.state);
        matches!(state, Some(MachineState::Preparing | MachineState::Starting))
    }

    /// Its lab is on the line and says how it is.
    pub(super) fn lab_says(&mut self, state: &State) {
        let condition = of_lab(state);
        self.task = None;
        self.unreachable = None;
        self.ended = matches!(state, State::Stopped(_)).then(|| condition.clone());
        self.lab = Some(condition);
    }

    /// Its lab is not on the line any more.
    pub(super) fn lab_gone(&mut self) {
        self.lab = None;
    }

    /// There is a lab but no line to it.
    pub(super) fn unreachable(&mut self, reason: String) {
        self.unreachable = Some(reason);
    }
}

/// The terminals of an image's machine, until its lab says what they are.
pub(super) fn likely_consoles() -> [ConsoleId; 4] {
    [ConsoleId::Hvc(0), ConsoleId::Hvc(1), ConsoleId::Hvc(2), ConsoleId::Serial]
}

fn plain(state: MachineState) -> Condition {
    Condition { state, detail: String::new(), action: String::new() }
}

fn of_lab(state: &State) -> Condition {
    match state {
        State::Starting => plain(MachineState::Starting),
        State::Running => plain(MachineState::Running),
        State::Paused => plain(MachineState::Paused),
        State::Stalled { reason } => Condition {
            detail: reason.clone(),
            action: "Cure that, then press Resume.".into(),
            ..plain(MachineState::Paused)
        },
        State::Stopped(reason) => stopped(reason),
    }
}

fn stopped(reason: &StopReason) -> Condition {
    let (state, detail) = match reason {
        StopReason::PowerOff { code: 0 } => {
            (MachineState::Stopped, "the guest switched it off".to_owned())
        }
        StopReason::PowerOff { code } => {
            (MachineState::Stopped, format!("the guest switched it off with code {code}"))
        }
        StopReason::Killed => (MachineState::Stopped, "it was switched off".to_owned()),
        StopReason::Saved => (MachineState::Saved, String::new()),
        StopReason::Failed { message } => {
            let action = "Press Start to switch it on again.".into();
            return Condition { state: MachineState::Failed, detail: message.clone(), action };
        }
    };
    Condition { detail, ..plain(state) }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Say {
        Listed(Status),
        Task(News),
        Lab(State),
        LabGone,
    }
    use Say::*;

    fn check(said: Vec<Say>, state: MachineState, detail: &str) {
        let mut told = Told::default();
        for say in said {
            match say {
                Listed(status) => told.listed = Some(status),
                Task(news) => told.tell(news),
                Lab(state) => told.lab_says(&state),
                LabGone => told.lab_gone(),
            }
        }
        let condition = told.condition();
        assert_eq!((condition.state, condition.detail.as_str()), (state, detail));
    }

    #[test]
    fn the_lab_knows_best_then_the_task_then_the_host() {
        use MachineState as M;
        let off = || Listed(Status::Off);
        let killed = || Lab(State::Stopped(StopReason::Killed));
        let fault = || News::Failed(Fault { what: "no disk".into(), action: "add one".into() });
        check(vec![], M::Stopped, "");
        check(vec![off()], M::Stopped, "");
        check(vec![Listed(Status::Saved)], M::Saved, "");
        check(vec![Listed(Status::Running)], M::Starting, "");
        check(vec![off(), Task(News::Starting)], M::Starting, "");
        check(vec![off(), Task(fault())], M::Failed, "no disk");
        check(vec![off(), Task(fault()), Task(News::Off)], M::Stopped, "");
        check(vec![off(), Task(News::Starting), Lab(State::Running)], M::Running, "");
        check(vec![Listed(Status::Running), Lab(State::Running), LabGone], M::Starting, "");
        check(vec![Listed(Status::Running), killed(), LabGone], M::Stopped, "it was switched off");
        check(vec![killed(), LabGone, off()], M::Stopped, "it was switched off");
        check(vec![killed(), LabGone, off(), Task(News::Starting)], M::Starting, "");
        check(vec![Lab(State::Stalled { reason: "disk full".into() })], M::Paused, "disk full");
    }
}
