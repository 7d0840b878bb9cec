//! Standard input and output as channels. Both ends may be anything (terminals, pipes, files), and
//! may block for as long as they like: each is served by a thread, so that a session goes on
//! listening to signals and to the lab.

use std::io::{Write, stderr, stdin, stdout};
use std::thread::JoinHandle;

use stackvm_host::protocol::{DATA_BYTES_MAX, Stream};
use tokio::sync::mpsc;

/// Pieces that wait in either direction.
const PIECES_MAX: usize = 8;

/// What is typed or piped in, in pieces; ends with standard input.
pub(crate) type Input = mpsc::Receiver<Vec<u8>>;

/// Begins to read standard input; once in a program.
pub(crate) fn input() -> Input {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    // This thread ends with the input or with the program: a read cannot be called off.
    std::thread::spawn(move || {
        let mut buffer = vec![0; DATA_BYTES_MAX];
        loop {
            match rustix::io::read(stdin(), &mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

/// The way to standard output and standard error.
pub(crate) struct Output {
    sender: mpsc::Sender<(Stream, Vec<u8>)>,
    writer: JoinHandle<()>,
}

impl Output {
    /// Starts the writer.
    pub(crate) fn new() -> Output {
        let (sender, mut receiver) = mpsc::channel::<(Stream, Vec<u8>)>(PIECES_MAX);
        let writer = std::thread::spawn(move || {
            while let Some((stream, bytes)) = receiver.blocking_recv() {
                // Ending drops the receiver, which is how the session learns of a broken pipe.
                if write(stream, &bytes).is_err() {
                    return;
                }
            }
        });
        Output { sender, writer }
    }

    /// Waits for room, which does no harm when it is given up; `None` when nobody reads any more.
    pub(crate) async fn room(&self) -> Option<mpsc::Permit<'_, (Stream, Vec<u8>)>> {
        self.sender.reserve().await.ok()
    }

    /// Waits until everything is written.
    pub(crate) fn finish(self) {
        drop(self.sender);
        // A writer that panicked has nothing left to write.
        let _ = self.writer.join();
    }
}

fn write(stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
    match stream {
        Stream::Stdout => {
            let mut out = stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Stream::Stderr => stderr().lock().write_all(bytes),
    }
}
