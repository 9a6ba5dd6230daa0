//! Standard output. A reader that goes away, such as `head`, is no failure.
//!
//! Lines and documents to a closed pipe are dropped, so that a backup whose reader left still runs to its end. Raw
//! data, as of `cat`, fails with `BrokenPipe`, so that nobody reads a repository for nothing; [`Output::was_cut`] tells
//! that this was the reason.

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::json::{self, Document};
use crate::error::{Error, Result};

/// A handle on standard output; clones share it.
#[derive(Clone)]
pub struct Output(Arc<Mutex<Stream>>);

struct Stream {
    to: Box<dyn Write + Send>,
    closed: bool,
    cut: bool,
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::to(BufWriter::with_capacity(64 << 10, io::stdout()))
    }

    /// Anything else, for tests.
    pub fn to(stream: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Stream { to: Box::new(stream), closed: false, cut: false })))
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes text as it is.
    pub fn text(&self, text: &str) -> Result<()> {
        self.stream().lines(|to| to.write_all(text.as_bytes()))
    }

    /// Writes a line.
    pub fn line(&self, text: &str) -> Result<()> {
        self.stream().lines(|to| writeln!(to, "{text}"))
    }

    /// Writes a document as one line of JSON, at once: a script may be waiting for it.
    pub fn json(&self, document: &impl Document) -> Result<()> {
        let line = json::line(document)?;
        self.stream().lines(|to| {
            writeln!(to, "{line}")?;
            to.flush()
        })
    }

    /// Makes sure that all has been handed over.
    pub fn finish(&self) -> Result<()> {
        self.stream().lines(|to| to.flush())
    }

    /// Whether the reader has gone; loops that only print may stop then.
    pub fn is_closed(&self) -> bool {
        self.stream().closed
    }

    /// Whether raw data was refused because the reader has gone: a failure that follows from it is none.
    pub fn was_cut(&self) -> bool {
        self.stream().cut
    }
}

impl Stream {
    fn lines(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        match write(&mut self.to) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Error::io("cannot write to standard output", &error)),
            Ok(()) => Ok(()),
        }
    }

    fn raw<T>(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
        let done = write(&mut self.to);
        if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            self.closed = true;
            self.cut = true;
        }
        done
    }
}

/// Raw data.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream().raw(|to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream().raw(|to| to.flush())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// An output that keeps what was written.
    #[derive(Clone, Default)]
    pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        pub(crate) fn output(&self) -> Output {
            Output::to(self.clone())
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Kept;
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn lines_reach_the_reader() {
        let kept = Kept::default();
        let mut output = kept.output();
        output.line("one").unwrap();
        output.text("two").unwrap();
        output.write_all(b"\nraw").unwrap();
        assert_eq!(kept.text(), "one\ntwo\nraw");
    }

    #[test]
    fn a_reader_that_left_does_not_stop_a_job() {
        let output = Output::to(Failing(ErrorKind::BrokenPipe));
        output.line("lost").unwrap();
        output.line("lost").unwrap();
        output.finish().unwrap();
        assert!(output.is_closed() && !output.was_cut());
    }

    #[test]
    fn a_reader_that_left_stops_a_copy() {
        let mut output = Output::to(Failing(ErrorKind::BrokenPipe));
        assert_eq!(output.write_all(b"data").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(output.was_cut());
    }

    #[test]
    fn other_failures_are_failures() {
        let output = Output::to(Failing(ErrorKind::StorageFull));
        assert_eq!(output.line("lost").unwrap_err().kind(), crate::error::Kind::NoSpace);
        assert!(!output.is_closed());
    }
}
