//! The functions that SQLite's engine calls. All of the unsafe code that serving an image takes is here.
//!
//! What makes it sound: the file system and its methods are static and never change. A file's memory is the engine's:
//! [`open_file`] gives it a [`Served`] of its own before it says that it is open, [`close`] takes that back once, and the
//! engine calls nothing on a file outside of these two. No panic crosses into the engine. The engine reads an image only
//! while somebody calls it through its connection, which nobody can take out of an [`Opened`], and that borrows the image.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use rusqlite::ffi::{
    self, SQLITE_CANTOPEN, SQLITE_IOERR, SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ, SQLITE_NOTFOUND, SQLITE_OK,
    SQLITE_READONLY, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
};
use rusqlite::{Connection, OpenFlags};

use super::{Failure, Image, lock};
use crate::error::{Error, Kind, Result};

/// The name of the file system.
const NAME: &CStr = c"larder";
const PATH_BYTES_MAX: c_int = 64;
/// Steps of the engine between two looks at whether to stop, each well under a microsecond.
const STEPS: c_int = 10_000;

/// What an open file reads from, and why that failed.
struct Served {
    image: &'static dyn Image,
    failure: Failure,
}

/// Images on their way to the engine, which asks for them by name.
static AWAITED: Mutex<Option<HashMap<u64, Served>>> = Mutex::new(None);

fn awaited(number: u64) -> Option<Served> {
    lock(&AWAITED).as_mut()?.remove(&number)
}

/// A connection to an image, which it does not outlive:
///
/// ```compile_fail,E0597
/// # struct Bytes;
/// # impl larder::vfs::Image for Bytes {
/// #     fn bytes(&self) -> u64 { 0 }
/// #     fn read_at(&self, _: u64, _: &mut [u8]) -> larder::error::Result<()> { Ok(()) }
/// # }
/// let opened;
/// let image = Bytes;
/// opened = larder::vfs::open(&image);
/// ```
#[derive(Debug)]
pub struct Opened<'i> {
    connection: Connection,
    failure: Failure,
    image: PhantomData<&'i dyn Image>,
}

impl Opened<'_> {
    /// Why the image could not be read, since this was last asked: the engine itself knows only that it could not.
    pub fn failure(&self) -> Option<Error> {
        self.failure.take()
    }

    /// Has statements fail as interrupted once `stop`, which is asked now and then while one runs, says yes.
    pub fn stop_when(&mut self, stop: impl FnMut() -> bool + Send + 'static) -> Result<()> {
        let set = self.connection.progress_handler(STEPS, Some(stop));
        set.map_err(|e| Error::new(Kind::Failed, "cannot watch a stored database").why(e.to_string()))
    }
}

/// There is nothing to do: a type that is dropped with care must not outlive what it borrows, the drop included. Without
/// this, an image could go first, and the engine would close a file on memory that is no longer there.
impl Drop for Opened<'_> {
    fn drop(&mut self) {}
}

/// Never mutable: the connection could be taken out, and outlive the image.
impl Deref for Opened<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Opens the image. What it holds is not trusted by this: whoever runs statements on foreign images sets limits first.
pub fn open(image: &dyn Image) -> Result<Opened<'_>> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    register()?;
    let (number, failure) = (NEXT.fetch_add(1, Ordering::Relaxed), Failure::default());
    // SAFETY: what has it is used by the connection only, which the result keeps, and no longer than the image lives.
    let image = unsafe { std::mem::transmute::<&dyn Image, &'static dyn Image>(image) };
    lock(&AWAITED).get_or_insert_default().insert(number, Served { image, failure: failure.clone() });
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags_and_vfs(format!("file:/{number}?immutable=1"), flags, NAME);
    awaited(number);
    match opened {
        Ok(connection) => Ok(Opened { connection, failure, image: PhantomData }),
        Err(e) => Err(failure
            .take()
            .unwrap_or_else(|| Error::new(Kind::Failed, "SQLite cannot open a stored database").why(e.to_string()))),
    }
}

/// What the engine's memory for a file holds.
#[repr(C)]
struct File {
    base: sqlite3_file,
    served: *mut Served,
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(nothing),
    xFileSize: Some(size),
    xLock: Some(nothing),
    xUnlock: Some(nothing),
    xCheckReservedLock: Some(is_locked),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// The usual file system, which makes temporary files, tells the time and sleeps.
fn usual() -> *mut sqlite3_vfs {
    // SAFETY: with no name it returns the default one, which lives as long as the process.
    unsafe { ffi::sqlite3_vfs_find(ptr::null()) }
}

/// Makes the file system known to the engine, once.
fn register() -> Result<()> {
    static DONE: OnceLock<c_int> = OnceLock::new();
    let code = *DONE.get_or_init(|| {
        let usual = usual();
        if usual.is_null() {
            return SQLITE_IOERR;
        }
        // SAFETY: it is not null, and nobody changes it.
        let mut vfs = unsafe { *usual };
        vfs.szOsFile = vfs.szOsFile.max(size_of::<File>() as c_int);
        vfs.mxPathname = PATH_BYTES_MAX;
        vfs.pNext = ptr::null_mut();
        vfs.zName = NAME.as_ptr();
        vfs.xOpen = Some(open_file);
        vfs.xDelete = Some(delete);
        vfs.xAccess = Some(access);
        vfs.xFullPathname = Some(full_path);
        // SAFETY: it lives as long as the process, and is not the default.
        unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0) }
    });
    match code {
        SQLITE_OK => Ok(()),
        code => Err(Error::new(Kind::Failed, "SQLite takes no file system of ours").why(format!("code {code}"))),
    }
}

/// Runs what may panic; the engine gets an error code for it.
fn guarded(run: impl FnOnce() -> c_int) -> c_int {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(SQLITE_IOERR)
}

unsafe extern "C" fn open_file(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: the engine gives memory of szOsFile bytes, which is as much as either file system asks for, and looks at
    // the methods even where opening fails.
    unsafe { (*file).pMethods = ptr::null() };
    if flags & ffi::SQLITE_OPEN_MAIN_DB == 0 {
        // SAFETY: all as the engine gave it, and to the file system for which the engine would ask.
        return match unsafe { (*usual()).xOpen } {
            Some(xopen) if flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0 => unsafe {
                xopen(usual(), name, file, flags, out_flags)
            },
            _ => SQLITE_CANTOPEN,
        };
    }
    guarded(|| {
        // SAFETY: a main database has a name, which ends with a zero.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        let number = name.strip_prefix(b"/").and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let Some(served) = number.and_then(awaited) else { return SQLITE_CANTOPEN };
        let file = file.cast::<File>();
        // SAFETY: the memory is large enough for a `File`, and ours until it is closed.
        unsafe {
            (*file).served = Box::into_raw(Box::new(served));
            (*file).base.pMethods = &METHODS;
            if !out_flags.is_null() {
                *out_flags = ffi::SQLITE_OPEN_READONLY | ffi::SQLITE_OPEN_MAIN_DB;
            }
        }
        SQLITE_OK
    })
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let file = file.cast::<File>();
    // SAFETY: only files that `open_file` made have these methods; the engine closes each once.
    let served = unsafe { Box::from_raw((*file).served) };
    guarded(move || {
        drop(served);
        SQLITE_OK
    })
}

unsafe extern "C" fn read(file: *mut sqlite3_file, buffer: *mut c_void, len: c_int, offset: sqlite3_int64) -> c_int {
    // SAFETY: as in `close`; nobody else changes it meanwhile.
    let served = unsafe { &*(*file.cast::<File>()).served };
    let (Ok(len), Ok(offset)) = (usize::try_from(len), u64::try_from(offset)) else { return SQLITE_IOERR_READ };
    // SAFETY: the engine gives a buffer of this length, and nobody else has it. Its bytes are set before they count.
    let buffer = unsafe {
        ptr::write_bytes(buffer.cast::<u8>(), 0, len);
        std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len)
    };
    guarded(|| {
        let there = served.image.bytes().saturating_sub(offset).min(len as u64) as usize;
        match served.image.read_at(offset, &mut buffer[..there]) {
            Ok(()) if there < len => SQLITE_IOERR_SHORT_READ,
            Ok(()) => SQLITE_OK,
            Err(error) => {
                // Nothing of what may have been read counts.
                buffer.fill(0);
                served.failure.put(error);
                SQLITE_IOERR_READ
            }
        }
    })
}

unsafe extern "C" fn size(file: *mut sqlite3_file, out: *mut sqlite3_int64) -> c_int {
    // SAFETY: as in `read`.
    let served = unsafe { &*(*file.cast::<File>()).served };
    guarded(|| match sqlite3_int64::try_from(served.image.bytes()) {
        Ok(bytes) => {
            // SAFETY: the engine gives a place for one number.
            unsafe { *out = bytes };
            SQLITE_OK
        }
        Err(_) => SQLITE_IOERR,
    })
}

unsafe extern "C" fn write(_: *mut sqlite3_file, _: *const c_void, _: c_int, _: sqlite3_int64) -> c_int {
    SQLITE_READONLY
}

unsafe extern "C" fn truncate(_: *mut sqlite3_file, _: sqlite3_int64) -> c_int {
    SQLITE_READONLY
}

unsafe extern "C" fn nothing(_: *mut sqlite3_file, _: c_int) -> c_int {
    SQLITE_OK
}

unsafe extern "C" fn is_locked(_: *mut sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: the engine gives a place for one number.
    unsafe { *out = 0 };
    SQLITE_OK
}

unsafe extern "C" fn control(_: *mut sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut sqlite3_file) -> c_int {
    4096
}

unsafe extern "C" fn characteristics(_: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_IMMUTABLE
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, _: *const c_char, _: c_int) -> c_int {
    SQLITE_READONLY
}

/// There is no journal and no log.
unsafe extern "C" fn access(_: *mut sqlite3_vfs, _: *const c_char, _: c_int, out: *mut c_int) -> c_int {
    // SAFETY: the engine gives a place for one number.
    unsafe { *out = 0 };
    SQLITE_OK
}

unsafe extern "C" fn full_path(_: *mut sqlite3_vfs, name: *const c_char, len: c_int, out: *mut c_char) -> c_int {
    // SAFETY: a name that ends with a zero, and a place of this length, which do not overlap.
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > len.max(0) as usize {
            return SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    SQLITE_OK
}
