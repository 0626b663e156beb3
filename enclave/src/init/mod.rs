//! The first process of the measured image, and the only one beside the engine.
//!
//! 1. [`system`]: mounts, modules, and settings of the kernel that cannot be taken back.
//! 2. [`presented`], and [`clock`](system::check_clock): a device that the image does not know is refused, and a clock
//!    before the image's own time.
//! 3. [`supply`]: configuration and sealed model, from the host's disk into memory. Neither is trusted: the
//!    configuration's digest is in the identity statement, the model is signed by its owner.
//! 4. The engine starts as a child of its own: empty environment, one fixed command line, confined (`crate::confine`).
//! 5. [`link`]: the host's streams are carried to the engine's sockets and back. Init reads none of them. Where they come
//!    over a network, [`network`] brings it up before the engine starts.
//! 6. When the engine ends, or a step fails, the machine starts again. There is nothing to log in to, and nothing else
//!    that runs.

mod inventory;
mod link;
mod network;
mod presented;
mod supply;
mod system;

pub use link::port;

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::system::RebootCommand;

use crate::error::{EnclaveError, Result};

/// Where everything that is not the kernel's stands: in memory, not executable.
const RUN: &str = "/run/adyton";
/// The binary that is init, and the engine when it is told so.
const PROGRAM: &str = "/proc/self/exe";
/// How long after a failure the machine waits, so that its last words reach the console of a development image.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What differs between the images.
pub struct Image {
    /// Whether init says what it does. A release image has no console.
    pub console: bool,
    /// What provides evidence before the engine looks for it; a release image has the kernel's drivers.
    pub provide_evidence: fn() -> core::result::Result<(), &'static str>,
}

/// Whether this process is the first of a machine.
pub fn is_first_process() -> bool {
    std::process::id() == 1
}

/// Is init, until the machine starts again.
pub fn run(image: &Image) -> ! {
    if let Err(error) = boot(image) {
        image.say(&format!("halt: {error} [{}]", error.code()));
    }
    std::thread::sleep(LAST_WORDS);
    let _ = rustix::system::reboot(RebootCommand::Restart); // if it cannot, the kernel panics and does it
    std::process::exit(1)
}

fn boot(image: &Image) -> Result<()> {
    system::mount_all()?;
    image.say("started");
    system::load_modules()?;
    system::shut()?;
    presented::check()?;
    system::check_clock()?;
    let run = Path::new(RUN);
    supply::unpack(&mut supply::disk()?, run)?;
    let link = link::Link::find(run)?;
    presented::check()?; // again: a bus of a cloud's shows its devices while init goes on
    (image.provide_evidence)().map_err(EnclaveError::Evidence)?;
    system::seal_root()?;
    image.say("engine starts");
    let mut engine = start_engine(image, run)?;
    let name = link.name();
    let ended = link.carry(run, &mut engine, || image.take_stock(name));
    image.say("engine ended");
    ended
}

/// The child: the same binary, told to be the engine. What it says on standard error is allow-listed.
fn start_engine(image: &Image, run: &Path) -> Result<Child> {
    let stderr = match image.console {
        true => File::options()
            .write(true)
            .open("/dev/console")
            .map_or_else(|_| Stdio::null(), Stdio::from),
        false => Stdio::null(),
    };
    Command::new(PROGRAM)
        .env_clear()
        .current_dir("/")
        .arg("run")
        .arg("--config")
        .arg(run.join(supply::CONFIGURATION))
        .arg("--channel")
        .arg(run.join(link::CHANNEL))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|_| EnclaveError::Init("the engine does not start"))
}

impl Image {
    /// A line on the console, in words of the source and of the kernel; nothing of the host's supply is in it.
    fn say(&self, what: &str) {
        use std::io::Write as _;
        if self.console
            && let Ok(mut console) = File::options().write(true).open("/dev/console")
        {
            let _ = console.write_all(format!("adyton-init: {what}\n").as_bytes()); // a console may be gone
        }
    }

    /// What the machine looks like from inside, once the engine runs.
    fn take_stock(&self, link: &str) {
        if self.console {
            self.say(&format!("inventory {}", inventory::take(link)));
        }
    }
}
