//! What the tests of the whole program share: a data directory of one's own, images built once,
//! and the binary with its output.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest any single command may take; a boot takes seconds.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

/// A data directory that is removed at the end, with whatever machines are still running in it.
pub(crate) struct Home {
    directory: TempDir,
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Home {
    /// An empty one.
    pub(crate) fn new() -> Home {
        Home { directory: TempDir::new().expect("temporary directory") }
    }

    /// One with the image `tiny` and its prompt, which are made once for all tests.
    pub(crate) fn with_tiny() -> Home {
        let home = Home::with_tiny_alone();
        symlink(shared_images().join("cache"), home.path().join("cache")).expect("link to cache");
        home
    }

    /// One with the image `tiny` whose prompt was never made.
    pub(crate) fn with_tiny_alone() -> Home {
        let home = Home::new();
        symlink(shared_images().join("images"), home.path().join("images"))
            .expect("link to images");
        home
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The binary with arguments, for a test that wants to do more than run it.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stackvm"));
        command.args(args).env("STACKVM_HOME", self.path()).env_remove("DISPLAY");
        command
    }

    /// Runs the binary with nothing on standard input.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        self.run_with_input(args, b"")
    }

    /// Runs the binary with `input` on standard input.
    pub(crate) fn run_with_input<S: AsRef<OsStr>>(&self, args: &[S], input: &[u8]) -> Ran {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || {
            // A command may end without reading everything.
            let _ = stdin.write_all(&input);
        });
        let output = wait(child);
        feeder.join().expect("the feeder");
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What lies in a folder of it, by name, sorted.
    pub(crate) fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Labs live in processes of their own: none may outlive its test.
        let machines = self.names_in("machines");
        for machine in machines {
            let _ = self.command(&["stop", "--kill", &machine]).output();
        }
    }
}

/// Waits for a child with a limit; a hanging one is killed and fails the test.
pub(crate) fn wait(mut child: Child) -> Output {
    let start = Instant::now();
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if start.elapsed() > COMMAND_LIMIT {
            child.kill().expect("kill");
            let out = String::from_utf8_lossy(&out.join().expect("reader")).into_owned();
            let err = String::from_utf8_lossy(&err.join().expect("reader")).into_owned();
            panic!("still running after {COMMAND_LIMIT:?}\nstdout: {out}\nstderr: {err}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: out.join().expect("reader"), stderr: err.join().expect("reader") }
}

fn reader<R: std::io::Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("read a pipe");
        }
        bytes
    })
}

/// Waits until `condition` holds, with a limit.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A data directory with the image `tiny`, shared by all tests of this build.
fn shared_images() -> PathBuf {
    let shared = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("images-home");
    fs::create_dir_all(&shared).expect("shared directory");
    // Tests run in many processes: one builds, the others wait.
    let lock = File::create(shared.join("lock")).expect("lock file");
    lock.lock().expect("lock");
    if !shared.join("images/tiny").exists() {
        let built = Command::new(env!("CARGO_BIN_EXE_stackvm"))
            .args(["image", "build", "tiny"])
            .env("STACKVM_HOME", &shared)
            .output()
            .expect("the binary starts");
        let err = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "image build tiny: {err}");
    }
    // One start is enough to make the prompt, or to make one anew that does not fit any more.
    static PROMPT: std::sync::Once = std::sync::Once::new();
    PROMPT.call_once(|| {
        let ran = Command::new(env!("CARGO_BIN_EXE_stackvm"))
            .args(["run", "tiny", "--", "true"])
            .env("STACKVM_HOME", &shared)
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts");
        assert!(ran.status.success(), "run tiny: {}", String::from_utf8_lossy(&ran.stderr));
    });
    shared
}
