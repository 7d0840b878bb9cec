//! What takes a while: a list of tasks with progress, a log, an end, and a way to cancel.
//!
//! Lives in memory, as long as the server: a page that is loaded again finds its tasks, a server
//! that is started again has none. What a task does is whoever begins it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stackvm_images::Cancel;
use tokio::sync::broadcast;

use crate::api::types::{TaskState, TaskView};
use crate::clock::unix_ms;
use crate::problem::{Kind, Problem};
use crate::rooms::{Fault, Progress};

/// Tasks that are remembered; of more, the oldest that has ended is forgotten.
const TASKS_MAX: usize = 200;
/// Tasks at once.
const RUNNING_MAX: usize = 32;
/// Lines of a task's log; further ones are left out.
const LOG_LINES_MAX: usize = 200;
/// Changes that a slow listener may be behind before it has to look at everything.
const CHANGES_MAX: usize = 256;

/// The tasks of a server.
pub(crate) struct Tasks {
    /// Tells the tasks of one server's life from those of the next.
    run: String,
    inner: Mutex<Inner>,
    changes: broadcast::Sender<String>,
}

#[derive(Default)]
struct Inner {
    begun: u64,
    entries: VecDeque<Entry>,
}

struct Entry {
    view: TaskView,
    cancel: Cancel,
}

/// Whether a task can be cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cancellable {
    Yes,
    No,
}

/// A task that runs. Dropping it without an end is a failure.
pub(crate) struct Task {
    tasks: Arc<Tasks>,
    id: String,
    cancel: Cancel,
    ended: bool,
}

impl Tasks {
    pub(crate) fn new(run: &str) -> Arc<Tasks> {
        let changes = broadcast::channel(CHANGES_MAX).0;
        Arc::new(Tasks { run: run.to_owned(), inner: Mutex::default(), changes })
    }

    /// Begins a task.
    pub(crate) fn begin(
        self: &Arc<Tasks>,
        title: String,
        machine: Option<String>,
        cancellable: Cancellable,
    ) -> Result<Task, Problem> {
        let mut inner = self.lock();
        let is_running = |entry: &&Entry| entry.view.state == TaskState::Running;
        if inner.entries.iter().filter(is_running).count() >= RUNNING_MAX {
            let detail = format!("there are {RUNNING_MAX} tasks under way already");
            return Err(Problem::new(Kind::Unavailable, detail, "Wait until one has ended."));
        }
        inner.begun += 1;
        let id = format!("{}-{}", self.run, inner.begun);
        let view = TaskView {
            id: id.clone(),
            title,
            machine,
            state: TaskState::Running,
            phase: String::new(),
            message: String::new(),
            done_bytes: 0,
            total_bytes: None,
            log: Vec::new(),
            started_unix_ms: unix_ms(),
            ended_unix_ms: None,
            what: String::new(),
            action: String::new(),
            cancellable: cancellable == Cancellable::Yes,
        };
        let cancel = Cancel::default();
        inner.entries.push_back(Entry { view, cancel: cancel.clone() });
        if inner.entries.len() > TASKS_MAX {
            let over = inner.entries.iter().position(|it| it.view.state != TaskState::Running);
            inner.entries.remove(over.expect("fewer run than are remembered"));
        }
        drop(inner);
        self.tell(&id);
        Ok(Task { tasks: self.clone(), id, cancel, ended: false })
    }

    /// The tasks, the newest first.
    pub(crate) fn list(&self) -> Vec<TaskView> {
        self.lock().entries.iter().rev().map(|entry| entry.view.clone()).collect()
    }

    pub(crate) fn get(&self, id: &str) -> Option<TaskView> {
        self.lock().entries.iter().find(|it| it.view.id == id).map(|it| it.view.clone())
    }

    /// Asks a task to stop.
    pub(crate) fn cancel(&self, id: &str) -> Result<TaskView, Problem> {
        let inner = self.lock();
        let entry = inner.entries.iter().find(|entry| entry.view.id == id);
        let entry = entry.ok_or_else(|| Problem::not_found("task of this name"))?;
        let refusal = |detail: &str| Err(Problem::new(Kind::Conflict, detail, "Let it end."));
        match (entry.view.state, entry.view.cancellable) {
            (TaskState::Running, true) => {
                entry.cancel.cancel();
                Ok(entry.view.clone())
            }
            (TaskState::Running, false) => refusal("this task cannot be cancelled"),
            _ => refusal("this task has ended"),
        }
    }

    /// Asks all tasks to stop: the server ends.
    pub(crate) fn cancel_all(&self) {
        self.lock().entries.iter().for_each(|entry| entry.cancel.cancel());
    }

    /// Which tasks change, as they do.
    pub(crate) fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut TaskView)) {
        if let Some(entry) = self.lock().entries.iter_mut().find(|it| it.view.id == id) {
            change(&mut entry.view);
        }
        self.tell(id);
    }

    fn tell(&self, id: &str) {
        // Nobody may be listening.
        let _ = self.changes.send(id.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    pub(crate) fn view(&self) -> TaskView {
        self.tasks.get(&self.id).expect("a running task is never forgotten")
    }

    /// Set when somebody cancels it.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    pub(crate) fn progress(&self, progress: &Progress) {
        self.tasks.change(&self.id, |view| {
            if view.phase != progress.phase && view.log.len() < LOG_LINES_MAX {
                let line = format!("{}: {}", progress.phase, progress.message);
                view.log.push(line.trim_end_matches([':', ' ']).to_owned());
            }
            view.phase.clone_from(&progress.phase);
            view.message.clone_from(&progress.message);
            (view.done_bytes, view.total_bytes) = (progress.done_bytes, progress.total_bytes);
        });
    }

    /// It has ended.
    pub(crate) fn end(mut self, result: Result<(), Fault>) {
        self.conclude(result);
    }

    fn conclude(&mut self, result: Result<(), Fault>) {
        self.ended = true;
        let is_cancelled = self.cancel.is_cancelled();
        self.tasks.change(&self.id, |view| {
            view.ended_unix_ms = Some(unix_ms());
            match result {
                Ok(()) => view.state = TaskState::Done,
                Err(_) if is_cancelled => view.state = TaskState::Cancelled,
                Err(Fault { what, action }) => {
                    view.state = TaskState::Failed;
                    (view.what, view.action) = (what, action);
                }
            }
        });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.ended {
            self.conclude(Err(Fault {
                what: "a part of this program failed".to_owned(),
                action: "Try again; if it happens again, it is a bug worth reporting.".to_owned(),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(tasks: &Arc<Tasks>, cancellable: Cancellable) -> Task {
        tasks.begin("Start web".to_owned(), Some("web".to_owned()), cancellable).unwrap()
    }

    fn fault() -> Fault {
        Fault { what: "no".to_owned(), action: "Yes.".to_owned() }
    }

    #[test]
    fn a_task_ends_once_and_in_one_way() {
        let tasks = Tasks::new("r");
        let check = |cancel: bool, result: Option<Result<(), Fault>>, expected, what: &str| {
            let task = begin(&tasks, Cancellable::Yes);
            let id = task.view().id;
            if cancel {
                tasks.cancel(&id).unwrap();
                assert!(task.cancel().is_cancelled());
            }
            match result {
                Some(result) => task.end(result),
                None => drop(task),
            }
            let view = tasks.get(&id).unwrap();
            assert_eq!((view.state, view.what.as_str()), (expected, what));
            assert!(view.ended_unix_ms.is_some());
            assert!(tasks.cancel(&id).is_err());
        };
        check(false, Some(Ok(())), TaskState::Done, "");
        check(false, Some(Err(fault())), TaskState::Failed, "no");
        check(true, Some(Err(fault())), TaskState::Cancelled, "");
        // It was done before it heard of it.
        check(true, Some(Ok(())), TaskState::Done, "");
        check(false, None, TaskState::Failed, "a part of this program failed");
    }

    #[test]
    fn progress_is_logged_by_phase() {
        let tasks = Tasks::new("r");
        let task = begin(&tasks, Cancellable::No);
        for (phase, message) in [("download", "linux"), ("download", "busybox"), ("save", "")] {
            let (phase, message) = (phase.to_owned(), message.to_owned());
            task.progress(&Progress { phase, message, done_bytes: 5, total_bytes: Some(10) });
        }
        let view = task.view();
        assert_eq!(view.log, ["download: linux", "save"]);
        assert_eq!((view.done_bytes, view.total_bytes), (5, Some(10)));
        assert!(tasks.cancel(&view.id).is_err(), "it cannot be");
    }

    #[test]
    fn the_oldest_that_has_ended_is_forgotten() {
        let tasks = Tasks::new("r");
        let first = begin(&tasks, Cancellable::Yes);
        for _ in 0..TASKS_MAX + 10 {
            begin(&tasks, Cancellable::Yes).end(Ok(()));
        }
        let list = tasks.list();
        assert_eq!(list.len(), TASKS_MAX);
        assert_eq!(list.last().unwrap().id, first.view().id, "it runs");
        assert!(list.windows(2).all(|pair| pair[0].id != pair[1].id));
    }

    #[test]
    fn there_are_not_too_many_at_once() {
        let tasks = Tasks::new("r");
        let running: Vec<Task> = (0..RUNNING_MAX).map(|_| begin(&tasks, Cancellable::No)).collect();
        assert!(tasks.begin("x".to_owned(), None, Cancellable::No).is_err());
        drop(running);
        assert!(tasks.begin("x".to_owned(), None, Cancellable::No).is_ok());
    }
}
