"""What threads do between the calls of kernels: hand a program out, walk through it, meet, wait for the next one.

All of it is native code, so no thread needs the interpreter lock to begin or to end a program. Threads share a table of
words; each of its rows is a cache line or more, so that those who wait do not slow down those who work.

- Row 0 is the program that is being run.
- Row 1 counts arrivals: each thread adds one after each call and waits until all have. It is never set back, because
  a thread may look at it for a moment after the others have gone on.
- Row 1 + n is the desk of thread n: whether it is away (asleep), there (working, or looking for work), or has a
  program posted, and the lock that it sleeps on. Thread 0, which calls, has none.
- Behind the desks, each thread has a row with two counts of the pieces that are taken of its share of a call, of this
  one and of the next.

A call is cut into as many pieces for each thread as the program says. A thread takes the pieces of its own share one by
one, and then, from the end, those that others have not come to: cores are not equally fast at every moment.
"""

from __future__ import annotations

from typing import Any

from caffe2lrp.kernels.compiling import cgutils, device, intrinsic, ir, types

ROW = 16  # words
CALLS, ADDRESSES, RECORDS, PIECES, TICKS, PARTS, BASE, TAKEN, PATIENCE = range(9)
STATE, LOCK = range(2)
AWAY, THERE, POSTED = range(3)
LEAVE = -1  # instead of a number of calls
_OTHERS = 32  # bits of a count that tell what the owner of the pieces has taken; those above tell what others have

# Spinning this often takes some ten microseconds: longer than threads drift apart within a call, shorter
# than what it costs others if this thread keeps a core that one of them needs.
_SPINS = 20_000


def _changing(operation: str) -> Any:
    @intrinsic
    def change(typingctx: Any, words: Any, at: Any, value: Any) -> Any:
        """Atomically change a word; the one that was there."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            words, at, value = arguments
            return builder.atomic_rmw(operation, builder.gep(words, [at]), value, "seq_cst")

        return types.int64(types.CPointer(types.int64), types.int64, types.int64), codegen

    return change


_add, _exchange = _changing("add"), _changing("xchg")


@intrinsic
def _replace(typingctx: Any, words: Any, at: Any, old: Any, new: Any) -> Any:
    """Atomically set a word if it is `old`; whether it was."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, at, old, new = arguments
        return builder.extract_value(builder.cmpxchg(builder.gep(words, [at]), old, new, "seq_cst", "seq_cst"), 1)

    return types.boolean(types.CPointer(types.int64), types.int64, types.int64, types.int64), codegen


@intrinsic
def _load(typingctx: Any, words: Any, at: Any) -> Any:
    """A word that other threads set."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, at = arguments
        return builder.load_atomic(builder.gep(words, [at]), "seq_cst", 8)

    return types.int64(types.CPointer(types.int64), types.int64), codegen


@intrinsic
def _words(typingctx: Any, address: Any) -> Any:
    """The words at an address."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int64)(types.int64), codegen


@intrinsic
def _call(typingctx: Any, address: Any, record: Any, part: Any, parts: Any, thread: Any, turn: Any) -> Any:
    """Call the entry point of a kernel at an address."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [word.as_pointer(), word, word, word, word])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(arguments[1], word.as_pointer()), *arguments[2:]])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), codegen


@intrinsic
def _call_system(typingctx: Any, address: Any, handle: Any, flag: Any) -> Any:
    """Call a C function at an address with a pointer and a number, of which it may take fewer."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        handle = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [handle, ir.IntType(32)])
        flag = builder.trunc(arguments[2], ir.IntType(32))
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [builder.inttoptr(arguments[1], handle), flag])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def _cycles(typingctx: Any) -> Any:
    """The processor's cycle counter (0 where it has none)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(64), [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.readcyclecounter"), [])

    return types.int64(), codegen


@device
def _walk(table: Any, thread: int, rest: int) -> None:
    """Do a part of each call of the program."""
    calls, parts, arrived = table[CALLS], table[PARTS], table[BASE]
    pieces, ticks = _words(table[PIECES]), _words(table[TICKS])
    mine = table[TAKEN] + ROW * thread
    if thread == 0:
        ticks[0] = _cycles()
    for i in range(calls):
        _take(table, i, thread, parts, pieces[i])
        table[mine + (i + 1) % 2] = 0  # of the last call, whose pieces nobody takes any more
        _add(table, ROW, 1)
        arrived += parts
        spins = 0
        while _load(table, ROW) < arrived:
            spins += 1
            if spins > _SPINS:
                _call_system(rest, 0, 0)
        if thread == 0:
            ticks[i + 1] = _cycles()


@device
def _take(table: Any, i: int, thread: int, parts: int, pieces: int) -> None:
    """Take pieces of a call until there are none: one's own from the first on, those of others from the last."""
    address, record = _words(table[ADDRESSES])[i], _words(table[RECORDS])[i]
    if pieces == 1 or parts == 1:
        _call(address, record, thread, parts, thread, 0)
        return
    turn = 0
    for step in range(parts):
        owner = (thread + step) % parts
        at = table[TAKEN] + ROW * owner + i % 2
        while True:
            taken = _add(table, at, 1 if step == 0 else 1 << _OTHERS)
            first, last = taken & ((1 << _OTHERS) - 1), taken >> _OTHERS
            if first + last >= pieces:
                break
            piece = first if step == 0 else pieces - 1 - last
            _call(address, record, owner * pieces + piece, parts * pieces, thread, turn)
            turn += 1


@device
def _lead(table: Any, rest: int, release: int) -> None:
    """Hand the program to the other threads, and do part 0."""
    table[BASE] = _load(table, ROW)
    for thread in range(table[PARTS]):
        table[table[TAKEN] + ROW * thread] = 0
    for other in range(1, table[PARTS]):
        desk = ROW * (1 + other)
        if _exchange(table, desk + STATE, POSTED) == AWAY:
            _call_system(release, table[desk + LOCK], 0)
    if table[CALLS] != LEAVE:
        _walk(table, 0, rest)


@device
def _serve(table: Any, part: int, rest: int, acquire: int) -> None:
    """Do one part of each program until one says to leave. Between programs, look out for the next before sleeping."""
    desk = ROW * (1 + part)
    spins = 0
    while True:
        if _load(table, desk + STATE) == POSTED:
            _exchange(table, desk + STATE, THERE)
            if table[CALLS] == LEAVE:
                return
            _walk(table, part, rest)
            spins = 0
        else:
            spins += 1
            if spins > _SPINS:
                _call_system(rest, 0, 0)
            if spins > table[PATIENCE] and _replace(table, desk + STATE, THERE, AWAY):
                _call_system(acquire, table[desk + LOCK], 1)


def work(table: Any, part: int, rest: int, acquire: int, release: int) -> None:
    """Run the program in the table (part 0), or all programs that come (other parts).

    `rest` lets other threads run, `acquire` waits for a lock, `release` wakes who waits.
    """
    if part == 0:
        _lead(table, rest, release)
    else:
        _serve(table, part, rest, acquire)
