//! Work that several threads do, with results in the order in which it was given. What the work is
//! belongs to the callers.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// More threads are of no use: by then whoever takes the results is what is waited for.
const THREADS_MAX: usize = 8;

/// Threads that turn jobs into results. Each ends when it has nothing left to do and the pool is
/// dropped.
#[derive(Debug)]
pub(crate) struct Pool<J, R> {
    threads: Vec<Thread<J, R>>,
    /// Which thread has each job whose result was not taken, oldest first.
    waiting: VecDeque<usize>,
    next: usize,
    /// Jobs that wait, at most.
    waiting_max: usize,
}

#[derive(Debug)]
struct Thread<J, R> {
    /// `None` only while it ends.
    jobs: Option<SyncSender<J>>,
    results: Option<Receiver<R>>,
    handle: Option<JoinHandle<()>>,
}

impl<J: Send + 'static, R: Send + 'static> Pool<J, R> {
    /// One thread for each processor; `work` makes what a thread does with a job. At most `each`
    /// jobs for every thread wait.
    ///
    /// # Errors
    /// The host's, when it starts not even one thread.
    pub(crate) fn start<W>(name: &str, each: usize, work: impl Fn() -> W) -> io::Result<Pool<J, R>>
    where
        W: FnMut(J) -> R + Send + 'static,
    {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut threads = Vec::new();
        for _ in 0..processors.min(THREADS_MAX) {
            match Thread::start(name, each, work()) {
                Ok(thread) => threads.push(thread),
                Err(error) if threads.is_empty() => return Err(error),
                // As many as there are.
                Err(_) => break,
            }
        }
        let waiting_max = each * threads.len();
        Ok(Pool { threads, waiting: VecDeque::new(), next: 0, waiting_max })
    }

    /// Whether a result has to be taken before there is room for another job.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.waiting_max
    }

    /// Gives a job.
    ///
    /// # Errors
    /// When the thread has died.
    ///
    /// # Panics
    /// When the pool is full.
    pub(crate) fn push(&mut self, job: J) -> io::Result<()> {
        assert!(!self.is_full(), "a result is taken first");
        let jobs = self.threads[self.next].jobs.as_ref().expect("it runs");
        jobs.send(job).map_err(|_| died())?;
        self.waiting.push_back(self.next);
        self.next = (self.next + 1) % self.threads.len();
        Ok(())
    }

    /// Waits for the oldest job's result; `None` when there is no job.
    ///
    /// # Errors
    /// When the thread has died.
    pub(crate) fn take(&mut self) -> Option<io::Result<R>> {
        let thread = self.waiting.pop_front()?;
        let results = self.threads[thread].results.as_ref().expect("it runs");
        Some(results.recv().map_err(|_| died()))
    }
}

impl<J: Send + 'static, R: Send + 'static> Thread<J, R> {
    fn start(
        name: &str,
        each: usize,
        mut work: impl FnMut(J) -> R + Send + 'static,
    ) -> io::Result<Thread<J, R>> {
        let (jobs, todo) = sync_channel::<J>(each);
        let (done, results) = sync_channel(each);
        let run = move || {
            for job in todo {
                if done.send(work(job)).is_err() {
                    break;
                }
            }
        };
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Thread { jobs: Some(jobs), results: Some(results), handle: Some(handle) })
    }
}

impl<J, R> Drop for Thread<J, R> {
    fn drop(&mut self) {
        (self.jobs, self.results) = (None, None);
        if let Some(handle) = self.handle.take() {
            // A panic in it shows as a missing result.
            let _ = handle.join();
        }
    }
}

fn died() -> io::Error {
    io::Error::other("a thread has died")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let mut pool = Pool::start("test", 3, || {
            |job: u64| {
                std::thread::sleep(std::time::Duration::from_micros(job * 7919 % 300));
                job * 2
            }
        })
        .expect("it starts");
        let mut results = Vec::new();
        for job in 0..200 {
            if pool.is_full() {
                results.push(pool.take().expect("it is full").expect("it runs"));
            }
            pool.push(job).expect("it runs");
        }
        while let Some(result) = pool.take() {
            results.push(result.expect("it runs"));
        }
        assert_eq!(results, (0..200).map(|job| job * 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_job_that_panics_is_an_error() {
        let work = || |job: u64| assert_ne!(job, 0, "the panic of this test");
        let mut pool = Pool::start("test", 1, work).expect("it starts");
        pool.push(0).expect("it runs");
        assert!(pool.take().expect("a job").is_err());
    }

    #[test]
    fn a_pool_ends_with_jobs_left() {
        let mut pool = Pool::start("test", 4, || |job: u64| job).expect("it starts");
        for job in 0..4 {
            pool.push(job).expect("it runs");
        }
        drop(pool);
    }
}
