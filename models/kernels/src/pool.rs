//! Threads that run one piece of work together, with a static split.
//!
//! UNSAFETY: a part of the work borrows from its caller's stack, so the borrow is handed to the other threads as
//! a pointer. [`Pool::run`] does not return, by value or by panic, before every thread is done with it.
//!
//! A matrix product of decoding takes some tens of microseconds, less than waking a thread does. So idle threads
//! spin, a bounded time: first with the processor's pause, then giving way to others, then asleep. On a machine
//! with more threads than cores the second step keeps a product from waiting for a thread that has no core.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};

/// Pauses before giving way: about 50 microseconds.
const SPINS: u32 = 1000;
/// Times to give way before sleeping: some hundred microseconds on an idle machine.
const YIELDS: u32 = 200;
/// More threads than any machine has.
const THREADS_MAX: usize = 1024;

/// Threads that wait for work; the thread that brings the work does the first part.
///
/// Work is split the same way each time, so results cannot depend on which thread was quicker. Work that itself
/// asks for the pool gets its parts one after another.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    turn: Mutex<()>,
}

type Work<'a> = dyn Fn(usize, usize) + Sync + 'a;

struct Shared {
    /// Counts pieces of work; a change is the call to begin.
    generation: AtomicU64,
    /// Written between pieces of work only, by the thread that holds the turn.
    job: UnsafeCell<Option<Job>>,
    /// Workers that have not finished the current piece.
    running: AtomicUsize,
    stopping: AtomicBool,
    /// Workers that are asleep or about to be.
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

struct Job {
    work: *const Work<'static>,
    parts: usize,
    caller: Thread,
}

// SAFETY: `job` is written only while `running` is zero and no generation is announced, and read only by workers
// that saw the generation announced after it (release and acquire on `generation`, and on `running` back). The
// pointer in it is to a `Sync` closure that outlives the generation.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to one thread.
unsafe impl Send for Shared {}

thread_local! {
    /// This thread is inside a part: asking again runs parts in turn, as waiting would never end.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Pool {
    /// `threads` in all, the caller's included; at least one.
    pub fn new(threads: usize) -> Self {
        let threads = threads.clamp(1, THREADS_MAX);
        let shared = Arc::new(Shared {
            generation: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            running: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            panic: Mutex::new(None),
        });
        let start = |part: usize| {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().name(format!("kernels-{part}"));
            builder.spawn(move || shared.serve(part)).ok()
        };
        // A system that refuses another thread leaves the pool with those it has.
        let workers = (1..threads).map_while(start).collect();
        Self {
            shared,
            workers,
            turn: Mutex::new(()),
        }
    }

    /// How many parts [`Self::run`] makes.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work(part, of)` once for each part, at the same time, and returns when all have.
    ///
    /// # Panics
    /// When a part does, after the others have ended, with the panic of one of them.
    pub fn run(&self, work: impl Fn(usize, usize) + Sync) {
        let parts = self.threads();
        if parts == 1 || INSIDE.get() {
            (0..parts).for_each(|part| work(part, parts));
            return;
        }
        let _turn = lock(&self.turn);
        self.shared.announce(&work, parts);
        let own = catch_unwind(AssertUnwindSafe(|| inside(|| work(0, parts))));
        wait_until(|| self.shared.running.load(Ordering::Acquire) == 0, thread::park);
        let others = lock(&self.shared.panic).take();
        if let Some(panic) = own.err().or(others) {
            resume_unwind(panic);
        }
    }

    /// As [`Self::run`], giving each part its own item by value: pieces of an output, say.
    pub fn run_each<T: Send>(&self, items: Vec<T>, work: impl Fn(usize, T) + Sync) {
        let items: Vec<_> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
        self.run(|part, of| {
            for index in (part..items.len()).step_by(of) {
                if let Some(item) = lock(&items[index]).take() {
                    work(index, item);
                }
            }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.begin();
        for worker in self.workers.drain(..) {
            // A worker catches what its work throws; it has nothing else to report.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn announce<'a>(&self, work: &'a Work<'a>, parts: usize) {
        // SAFETY: only the lifetime changes; `Pool::run` waits for all workers before `work` ends.
        let work = unsafe { std::mem::transmute::<*const Work<'a>, *const Work<'static>>(work) };
        let job = Job {
            work,
            parts,
            caller: thread::current(),
        };
        // SAFETY: no worker reads `job` now: all finished the last generation, and this one is not announced.
        unsafe { *self.job.get() = Some(job) };
        self.running.store(parts - 1, Ordering::Relaxed);
        self.begin();
    }

    fn begin(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        // A worker counts itself before it looks at the generation for the last time, so one of the two sees
        // the other.
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.sleep));
            self.wake.notify_all();
        }
    }

    fn serve(&self, part: usize) {
        let mut seen = 0;
        loop {
            let changed = || self.generation.load(Ordering::SeqCst) != seen;
            wait_until(changed, || {
                self.sleepers.fetch_add(1, Ordering::SeqCst);
                let mut guard = lock(&self.sleep);
                while !changed() {
                    guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
                }
                self.sleepers.fetch_sub(1, Ordering::SeqCst);
            });
            // One at a time: the next generation waits for this worker.
            seen += 1;
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            self.take_part(part);
        }
    }

    fn take_part(&self, part: usize) {
        // SAFETY: the generation was announced after `job` was written, and the next write waits for `running`.
        let Some(job) = (unsafe { &*self.job.get() }) else {
            return;
        };
        let caller = job.caller.clone();
        // SAFETY: the closure lives until `running` is zero, and this thread has not been counted out yet.
        let work = unsafe { &*job.work };
        let result = catch_unwind(AssertUnwindSafe(|| inside(|| work(part, job.parts))));
        if let Err(panic) = result {
            *lock(&self.panic) = Some(panic);
        }
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            caller.unpark();
        }
    }
}

fn inside(work: impl FnOnce()) {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            INSIDE.set(false);
        }
    }
    INSIDE.set(true);
    let _leave = Leave;
    work();
}

/// Spins, then gives way, then calls `sleep`, which may return early, until `done`.
fn wait_until(done: impl Fn() -> bool, sleep: impl Fn()) {
    for _ in 0..SPINS {
        if done() {
            return;
        }
        std::hint::spin_loop();
    }
    for _ in 0..YIELDS {
        if done() {
            return;
        }
        thread::yield_now();
    }
    while !done() {
        sleep();
    }
}

/// A panic never leaves what these locks guard half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_part_runs_once_each_time() {
        for threads in 1..=5 {
            let pool = Pool::new(threads);
            for round in 0..500 {
                let counts: Vec<_> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
                pool.run(|part, of| {
                    assert_eq!(of, threads);
                    counts[part].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts.iter().all(|count| count.load(Ordering::Relaxed) == 1),
                    "round {round}"
                );
            }
        }
    }

    #[test]
    fn sleeping_threads_wake() {
        let pool = Pool::new(3);
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(30));
            let count = AtomicUsize::new(0);
            pool.run(|_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 3);
        }
    }

    #[test]
    fn a_panic_of_any_part_reaches_the_caller_and_the_pool_serves_on() {
        let pool = Pool::new(4);
        for bad in 0..4 {
            let finished = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(|part, _| {
                    assert!(part != bad, "part {part}");
                    finished.fetch_add(1, Ordering::Relaxed);
                });
            }));
            assert!(result.is_err());
            assert_eq!(finished.into_inner(), 3, "the other parts ended first");
        }
        pool.run(|_, _| {});
    }

    #[test]
    fn work_inside_work_and_callers_side_by_side_do_not_deadlock() {
        let pool = Pool::new(3);
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        pool.run(|_, _| {
                            pool.run(|_, _| {
                                count.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 4 * 50 * 3 * 3);
    }

    #[test]
    fn each_item_is_handed_out_once() {
        let pool = Pool::new(2);
        let mut values = [0_u32; 7];
        pool.run_each(values.iter_mut().collect(), |index, value| *value += index as u32);
        assert_eq!(values, [0, 1, 2, 3, 4, 5, 6]);
    }
}
