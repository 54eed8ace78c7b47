"""Text files in blocks: opened, decompressed, cut at line ends, and worked on by threads."""

from __future__ import annotations

import codecs
import os
import stat
import sys
import threading
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import IO, Any, TypeAlias, TypeVar

PathLike: TypeAlias = str | os.PathLike[str]
Source: TypeAlias = PathLike | IO[bytes]

BLOCK = 1 << 20  # bytes of text at a time; what is parsed from them fits a core's cache

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")


def name_of(source: Source) -> str:
    """What error messages call a source."""
    if isinstance(source, (str, os.PathLike)):
        return "<stdin>" if source == "-" else os.fsdecode(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else f"<{type(source).__name__}>"


def whole_lines(source: Source, offset: int = 0, length: int = -1) -> Iterator[bytes]:
    """The text of a source in pieces of about BLOCK bytes, cut after a newline; a longer line is a piece of its own.

    Parameters
    ----------
    source : str, path-like or binary file
        "-" is standard input. Compressed text (gzip, bzip2, xz) is recognised by its first bytes.
    offset, length : int
        Only the lines that begin after byte `offset` of the text (at it, if it is 0), and up to byte `offset + length`
        if that is not negative: ranges that adjoin share out the lines. Bytes of the text, not of a compressed file.

    Raises
    ------
    OSError
        If the source cannot be read, or changes meanwhile.
    ValueError
        If its compressed data are damaged.
    TypeError
        If it is no path and no binary file.
    """
    pending: list[bytes] = []
    name = name_of(source)
    mark = b"" if offset else codecs.BOM_UTF8
    with _open(source) as stream:
        blocks = _text(stream, name, offset)
        if offset or length >= 0:
            blocks = _lines_between(blocks, offset, length)
        for block in blocks:
            end = block.rfind(b"\n") + 1
            if end:
                yield b"".join((*pending, memoryview(block)[:end])).removeprefix(mark)
                pending.clear()
                mark = b""
            pending.append(block[end:])
    if any(pending):
        yield b"".join(pending).removeprefix(mark)


@contextmanager
def _open(source: Source) -> Iterator[IO[bytes]]:
    if isinstance(source, (str, os.PathLike)):
        if source == "-":
            stdin = getattr(sys.stdin, "buffer", None)
            if stdin is None:
                raise OSError("<stdin> is closed, or replaced by something that is no binary file")
            yield stdin
        else:
            with open(source, "rb", buffering=0) as stream:
                yield stream
    elif hasattr(source, "read"):
        yield source
    else:
        raise TypeError(f"a path or a file opened in binary mode is needed, not {type(source).__name__}")


def _text(stream: IO[bytes], name: str, offset: int) -> Iterator[bytes]:
    """The text from byte `offset` on."""
    stamp = _stamp(stream)
    head = _read(stream, 6, name)
    for magic, new in _DECODERS.items():
        if head.startswith(magic):
            blocks = _decompressed(_blocks(stream, name, stamp, head), new, name)
            break
    else:
        if offset > len(head) and _seekable(stream):
            stream.seek(offset - len(head), os.SEEK_CUR)
            head, offset = b"", 0
        blocks = _blocks(stream, name, stamp, head)
    for block in blocks:
        if offset < len(block):
            yield block[offset:] if offset else block
        offset = max(offset - len(block), 0)


def _blocks(stream: IO[bytes], name: str, stamp: tuple[int, int] | None, head: bytes) -> Iterator[bytes]:
    if head:
        yield head
    while block := _read(stream, BLOCK, name):
        yield block
    if _stamp(stream) != stamp:
        raise OSError(f"{name} was changed while it was read (its size or time differs); read it again")


def _read(stream: IO[bytes], size: int, name: str) -> bytes:
    try:
        block = stream.read(size)
    except OSError as error:
        error.filename = error.filename or name
        raise
    if not isinstance(block, bytes):
        what = "is in text mode" if isinstance(block, str) else f"gave {type(block).__name__}, not bytes"
        raise TypeError(f"{name} {what}; open it in blocking binary mode, 'rb'")
    return block


def _stamp(stream: IO[bytes]) -> tuple[int, int] | None:
    """What changes when a regular file is written to or cut short."""
    with suppress(AttributeError, OSError, ValueError):
        status = os.fstat(stream.fileno())
        if stat.S_ISREG(status.st_mode):
            return status.st_size, status.st_mtime_ns
    return None


def _seekable(stream: IO[bytes]) -> bool:
    return getattr(stream, "seekable", lambda: False)()


def _new_gzip() -> Any:
    return zlib.decompressobj(wbits=31)


def _new_bzip2() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


def _new_xz() -> Any:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ)


# How their files begin, which no row does.
_DECODERS: dict[bytes, Callable[[], Any]] = {b"\x1f\x8b": _new_gzip, b"BZh": _new_bzip2, b"\xfd7zXZ": _new_xz}


def _decompressed(blocks: Iterable[bytes], new: Callable[[], Any], name: str) -> Iterator[bytes]:
    """At most BLOCK bytes at a time, however well they were compressed. Bytes after the end must be another member, or
    zeros, which the standard library's readers do not insist on: a damaged member would be left out in silence."""
    decoder = new()
    begun = True
    for block in blocks:
        data = block if begun else block.lstrip(b"\0")
        while data or begun:
            if not begun:
                decoder, begun = new(), True
            try:
                text = decoder.decompress(data, BLOCK)
            except Exception as error:  # zlib.error, LZMAError, OSError or EOFError
                raise _damaged(name, str(error)) from error
            if text:
                yield text
            if decoder.eof:
                begun, data = False, decoder.unused_data.lstrip(b"\0")
            else:
                data = getattr(decoder, "unconsumed_tail", b"")
                if not data and len(text) < BLOCK:
                    break
    if begun:
        raise _damaged(name, "it ends too early")


def _damaged(name: str, problem: str) -> ValueError:
    return ValueError(f"{name}: truncated or corrupted compressed data ({problem}); fetch or compress it again")


def _lines_between(blocks: Iterable[bytes], offset: int, length: int) -> Iterator[bytes]:
    """Of text that begins at byte `offset`, the lines of the range that `whole_lines` describes."""
    start = offset  # the text from here on has not been seen
    inside = offset == 0
    for block in blocks:
        first = 0 if inside else block.find(b"\n") + 1
        inside = inside or first > 0
        last = block.find(b"\n", max(offset + length - start, 0)) if length >= 0 else -1
        start += len(block)
        if inside:
            yield block[first : last + 1 or None]
        if last >= 0:
            return


def in_order(
    work: Callable[[_Piece], _Result], pieces: Generator[_Piece] | Iterator[_Piece], threads: int
) -> Iterator[_Result]:
    """`work` of each piece, in the order of the pieces.

    By that many threads, which also fetch the pieces (one at a time), run a few pieces ahead and end with this
    iterator; by the caller's own if there are to be 0. What is raised in them is raised here, in its turn.
    """
    if threads == 0:
        yield from map(work, pieces)
        return
    crew = _Crew(work, pieces, threads)
    try:
        for number in count():
            result, error = crew.wait_for(number)
            if error is not None:
                if isinstance(error, StopIteration):
                    return
                raise error
            yield result
    finally:
        crew.dismiss()


class _Crew:
    """Daemons, so that one that waits for a pipe does not keep the process alive."""

    def __init__(self, work: Callable[[Any], Any], pieces: Iterator[Any], threads: int) -> None:
        self.work, self.pieces = work, pieces
        self.next_number = 0
        self.done: dict[int, tuple[Any, BaseException | None]] = {}
        self.fetching = threading.Lock()
        self.ready = threading.Condition()
        self.room = threading.Semaphore(2 * threads)
        self.dismissed = False
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        error: BaseException | None = None
        while error is None:
            self.room.acquire()
            result = None
            with self.fetching:
                if self.dismissed:
                    return
                number = self.next_number
                self.next_number += 1
                try:
                    piece = next(self.pieces)
                except BaseException as e:
                    error = e
            if error is None:
                try:
                    result = self.work(piece)
                except BaseException as e:
                    error = e
            with self.ready:
                self.done[number] = result, error
                self.ready.notify_all()

    def wait_for(self, number: int) -> tuple[Any, BaseException | None]:
        with self.ready:
            while number not in self.done:
                self.ready.wait()
            item = self.done.pop(number)
        self.room.release()
        return item

    def dismiss(self) -> None:
        self.dismissed = True
        self.room.release(len(self.threads))
        for thread in self.threads:
            thread.join(0.1)
        with suppress(ValueError):  # it waits for a pipe
            self.pieces.close()  # type: ignore[attr-defined]
