"""Opening a root and its database."""

from __future__ import annotations

import binascii
import errno
import os
import sqlite3
from contextlib import contextmanager

from jubako.errors import JubakoError, KernelError, Unavailable
from jubako.store import reserve, schema
from jubako.store.lock import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_ROOT = "/var/lib/jubako"
_RUN = "/run/jubako"
_BUSY_TIMEOUT_S = 30.0  # transactions last milliseconds; only a stopped process holds one for long
_SQLITE_READONLY, _SQLITE_IOERR, _SQLITE_FULL, _SQLITE_CANTOPEN = 8, 10, 13, 14
_SHM_BYTES = 32 << 10  # the index of the log, that every opener needs
_WAL_PAGES = 200  # the first connection re-reads the log: keep it below a megabyte


class Store:
    """One root of one engine.

    root: the directory, made with mode 0700 if missing; None is JUBAKO_ROOT or /var/lib/jubako.
    The database opens on first use.  A process calls `close` before it forks a child that uses the
    store: an SQLite connection does not survive a fork, nor does a second one beside it (they share
    their record of file locks, of which the kernel gave the child none).
    """

    def __init__(self, root: str | None = None):
        path = root or os.environ.get("JUBAKO_ROOT") or DEFAULT_ROOT
        self.path = os.path.realpath(path)
        self.key = _key(self.path)
        self.name = f"jubako-{self.key}" if self.key else "jubako"
        self.run_dir = f"{_RUN}/{self.key or 'default'}"
        self._db: sqlite3.Connection | None = None
        self._depth = 0
        _make_directory(self.path)
        _make_directory(_RUN)
        _make_directory(self.run_dir)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to the database."""
        return self._db is not None

    @property
    def db(self) -> sqlite3.Connection:
        """The connection: autocommit, rows by name, foreign keys enforced."""
        if self._db is None:
            self._db = self._connect()
        return self._db

    def _connect(self) -> sqlite3.Connection:
        try:
            db = self._open()
        except KernelError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            self.use_reserve()
            return self._open()
        reserve.keep(self.path)
        return db

    def _open(self) -> sqlite3.Connection:
        path = f"{self.path}/state.db"
        _make_private(path)
        try:
            db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        except sqlite3.Error as exc:
            raise self._error("open", exc) from exc
        try:
            db.row_factory = sqlite3.Row
            # NORMAL leaves the last commits to the page cache; `flush` is for those that were
            # promised to somebody.
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            if db.execute("PRAGMA user_version").fetchone()[0] != schema.VERSION:
                db.execute("PRAGMA journal_mode = WAL")
                schema.prepare(db)
        except BaseException as exc:
            db.close()
            if isinstance(exc, sqlite3.Error):
                raise self._error("open", exc) from exc
            raise
        return db

    def _error(self, op: str, exc: sqlite3.Error) -> JubakoError:
        """What went wrong with the database, as the kernel would say it where it did."""
        path = f"{self.path}/state.db"
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        troubled = code in (_SQLITE_READONLY, _SQLITE_IOERR, _SQLITE_CANTOPEN)
        if code == _SQLITE_FULL or (troubled and reserve.free_bytes(self.path) < _SHM_BYTES):
            return KernelError(op, errno.ENOSPC, path=path)
        if troubled and reserve.is_read_only(self.path):
            return KernelError(op, errno.EROFS, path=path)
        return Unavailable(f"{op} {path}: {exc}", subject=path)

    def use_reserve(self) -> None:
        """Before a change that makes space or that cannot wait: let it have the space that is kept
        for when the disk is full, if it is.  See `jubako.store.reserve`."""
        reserve.give_up(self.path)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One atomic change; a nested use joins the outer one.

        Raises Unavailable when the database stays locked, KernelError (ENOSPC, EROFS).
        """
        db = self.db
        if self._depth:
            yield db
            return
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as exc:
            raise self._error("write", exc) from exc
        self._depth = 1
        try:
            yield db
            db.execute("COMMIT")
        except BaseException as exc:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if isinstance(exc, sqlite3.OperationalError):
                raise self._error("write", exc) from exc
            raise
        finally:
            self._depth = 0

    def flush(self) -> None:
        """Bring every committed transaction to the disk: call before reporting it as done.

        Raises KernelError (ENOSPC, EIO).
        """
        path = f"{self.path}/state.db-wal"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # nothing written since the last checkpoint, which syncs by itself
        except OSError as exc:
            raise KernelError.from_oserror("open", exc, path=path) from exc
        try:
            os.fdatasync(fd)
        except OSError as exc:
            raise KernelError.from_oserror("fdatasync", exc, path=path) from exc
        finally:
            os.close(fd)

    def directory(self, *names: str) -> str:
        """The path of a directory below the root, made (0700) if missing."""
        return _make_below(self.path, names)

    def run_directory(self, *names: str) -> str:
        """The same below the run directory."""
        return _make_below(self.run_dir, names)

    def lock(self, name: str, *, shared: bool = False, timeout_s: float | None = None) -> Lock:
        """The lock `name` of this root, to be entered; see `jubako.store.lock`."""
        return Lock(f"{self.run_directory('locks')}/{name}", shared=shared, timeout_s=timeout_s)

    def close(self) -> None:
        """Close the connection, if one is open; the store can be used again."""
        if self._db is not None:
            self._db.close()
            self._db = None


def boot_id() -> str:
    """The identity of this boot of the kernel (proc_sys_kernel(5), random/boot_id)."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _key(path: str) -> str:
    if path == DEFAULT_ROOT:
        return ""
    # a name, not a promise: hashlib would load OpenSSL, 2 ms and half a megabyte for every command
    return f"{binascii.crc32(os.fsencode(path)):08x}"


def _make_private(path: str) -> None:
    """Make a file that is root's alone, also in a root that was there and is open to others.

    It holds the environment of containers; SQLite gives the files beside it the same mode.
    """
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        pass
    except OSError as exc:
        raise KernelError.from_oserror("create", exc, path=path) from exc


def _make_below(path: str, names: tuple[str, ...]) -> str:
    """Directories of mode 0700, each: os.makedirs gives it to the last one only."""
    if not os.path.isdir("/".join((path, *names))):
        _make_directory(path)
        for name in "/".join(names).split("/"):
            path = f"{path}/{name}"
            _make_directory(path)
        return path
    return "/".join((path, *names))


def _make_directory(path: str) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as exc:
        hint = "run as root, or choose a root of yours with --root" if exc.errno == 13 else None
        error = KernelError.from_oserror("mkdir", exc, path=path)
        error.hint = hint
        raise error from exc
