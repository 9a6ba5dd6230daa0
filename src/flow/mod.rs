//! Workers, bounded queues, cancellation: the one room that starts threads.
//!
//! Threads live inside one call and end with it. The first error stops everything and is the one that is returned;
//! queues are bounded, so memory does not grow with the work.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::error::{Error, Kind, Result};

/// How many workers suit this machine: one more than it has cores, so that none stands idle while a disk flushes.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 15) + 1
}

/// Where a feeder puts its tasks.
#[derive(Debug)]
pub struct Feed<'a, T> {
    tasks: Sender<(u64, T)>,
    tickets: &'a Receiver<()>,
    next: u64,
}

impl<T> Feed<'_, T> {
    /// Hands out the next task; waits while too many are under way. Fails when the work has been stopped.
    pub fn send(&mut self, task: T) -> Result<()> {
        let stopped = || Error::new(Kind::Failed, "the work was stopped");
        self.tickets.recv().map_err(|_| stopped())?;
        self.tasks.send((self.next, task)).map_err(|_| stopped())?;
        self.next += 1;
        Ok(())
    }
}

/// What a worker does: with its own state, one task after another, and then an end.
pub trait Work<T, R> {
    /// Does one task.
    fn work(&mut self, task: T) -> Result<R>;
    /// No task is left.
    fn finish(self) -> Result<()>;
}

/// Remembers the first error of many threads, and tells all of them to stop.
#[derive(Default)]
struct First {
    error: Mutex<Option<Error>>,
    stop: AtomicBool,
}

impl First {
    fn keep(&self, result: Result<()>) {
        if let Err(error) = result {
            // Whoever finds the work stopped fails after the one that stopped it.
            if !self.stop.swap(true, Ordering::SeqCst)
                && let Ok(mut first) = self.error.lock()
            {
                *first = Some(error);
            }
        }
    }

    fn into_result(self) -> Result<()> {
        match self.error.into_inner() {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(_) => Err(Error::new(Kind::Failed, "a thread of this run failed")),
        }
    }
}

/// Runs `feed` on a thread of its own, the tasks that it sends on `count` workers, and `take` here with their results
/// in the order of the tasks. At most `window` tasks are under way at a time.
pub fn ordered<T: Send, R: Send, W: Work<T, R>>(
    count: usize,
    window: usize,
    feed: impl FnOnce(&mut Feed<'_, T>) -> Result<()> + Send,
    worker: impl Fn() -> Result<W> + Sync,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let first = First::default();
    let (tasks_in, tasks_out) = bounded::<(u64, T)>(window);
    let (results_in, results_out) = unbounded::<Option<(u64, R)>>();
    let (tickets_in, tickets_out) = bounded::<()>(window);
    for _ in 0..window {
        let _ = tickets_in.try_send(());
    }
    let work_loop = |tasks: Receiver<(u64, T)>, results: &Sender<Option<(u64, R)>>| -> Result<()> {
        let mut worker = worker()?;
        for (number, task) in tasks {
            if first.stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            if results.send(Some((number, worker.work(task)?))).is_err() {
                return Ok(());
            }
        }
        worker.finish()
    };
    std::thread::scope(|scope| {
        for _ in 0..count {
            let (tasks, results) = (tasks_out.clone(), results_in.clone());
            let (first, work_loop) = (&first, &work_loop);
            scope.spawn(move || {
                let result = work_loop(tasks, &results);
                let failed = result.is_err();
                first.keep(result);
                if failed {
                    // Whoever waits for results must not wait for one that never comes.
                    let _ = results.send(None);
                }
            });
        }
        drop((tasks_out, results_in));
        let feeder = Feed { tasks: tasks_in, tickets: &tickets_out, next: 0 };
        let first = &first;
        scope.spawn(move || {
            let mut feeder = feeder;
            first.keep(feed(&mut feeder));
        });
        first.keep(take_in_order(results_out, tickets_in, first, &mut take));
    });
    first.into_result()
}

/// Takes results in the order of their numbers. Returning closes the queues, which ends all other threads.
fn take_in_order<R>(
    results: Receiver<Option<(u64, R)>>,
    tickets: Sender<()>,
    first: &First,
    take: &mut impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for result in results {
        let Some((number, result)) = result else { return Ok(()) };
        if first.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        early.insert(number, result);
        while let Some(result) = early.remove(&next) {
            take(result)?;
            next += 1;
            let _ = tickets.try_send(());
        }
    }
    Ok(())
}

/// Runs `job` in the background until the process ends.
pub fn background(name: &str, job: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(job)
        .map(drop)
        .map_err(|e| Error::io("cannot start a thread", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Square;
    impl Work<u64, u64> for Square {
        fn work(&mut self, n: u64) -> Result<u64> {
            if n == 777 {
                return Err(Error::new(Kind::Damage, "777"));
            }
            // Later tasks overtake earlier ones.
            std::thread::sleep(std::time::Duration::from_micros(n * 37 % 50));
            Ok(n * n)
        }
        fn finish(self) -> Result<()> {
            Ok(())
        }
    }

    fn run(count: u64, fail_taking_at: u64) -> (Vec<u64>, Result<()>) {
        let mut taken = Vec::new();
        let feed = |feed: &mut Feed<'_, u64>| (0..count).try_for_each(|n| feed.send(n));
        let result = ordered(
            4,
            8,
            feed,
            || Ok(Square),
            |n| {
                taken.push(n);
                if n == fail_taking_at { Err(Error::new(Kind::NoSpace, "full")) } else { Ok(()) }
            },
        );
        (taken, result)
    }

    #[test]
    fn results_come_in_the_order_of_their_tasks() {
        let (taken, result) = run(500, u64::MAX);
        assert!(result.is_ok());
        assert_eq!(taken, (0..500).map(|n| n * n).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_stops_everything_and_is_the_one_returned() {
        assert_eq!(run(5000, u64::MAX).1.unwrap_err().kind(), Kind::Damage);
        assert_eq!(run(5000, 100).1.unwrap_err().kind(), Kind::NoSpace);
    }

    #[test]
    fn no_task_is_no_trouble() {
        assert!(run(0, 0).1.is_ok());
    }
}
