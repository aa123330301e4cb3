"""The memory that the audio thread shares with the others; any thread.

Records of 64-bit words, grouped into cache lines by the thread that writes them, so that no
two writers share a line.  The comment on each line names the writer first: ``config`` is
written before the stream starts and only read then, ``caller`` and ``control`` by
caller threads (one at a time), ``audio`` by the audio thread, ``wake`` by both sides
by compare-and-swap.  Indices count frames, only grow, and never wrap (64 bits last
6 million years at 48 kHz).  The records that the mixer does not know are in unit_layout.py.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = (
    "CACHE_LINE",
    "CLOCK_SYNC",
    "COMMAND",
    "COMMANDS",
    "COMMAND_BYTES",
    "CUTS",
    "GROUP",
    "HISTORY",
    "NEVER",
    "NODE",
    "PARAMETER",
    "PARAMETER_BYTES",
    "POINT",
    "RAMP",
    "SPAN",
    "STREAM",
    "TABLE",
    "TIME_INFO",
    "VOICE",
    "VOICE_BYTES",
    "WAKEUP",
    "WAKEUP_BYTES",
    "WORD",
    "Command",
    "Float32",
    "Floats",
    "Group",
    "Node",
    "Ramp",
    "Stream",
    "Strip",
    "Words",
    "record",
)

CACHE_LINE: Final = 64
"""Bytes that two writers must not share."""

NEVER: Final = 1 << 62
"""An index that is never reached: no thread waits."""

HISTORY: Final = 64
"""Breaks of its playhead that a voice remembers (a power of two)."""

CUTS: Final = 128
"""Executed clears and stops that a voice remembers until the caller has read them.  A caller
reads them before it asks for another clear, and half as many stops may wait for their time."""

COMMANDS: Final = 128
"""Commands that a voice holds until their time has come, or the next block (a power of two)."""

SPAN: Final = 256
"""Frames whose peak and power a meter keeps as one (a power of two)."""

TABLE: Final = 32
"""Values of a strip's table of factors: 16 stereo frames (see units/gain.py)."""

RAMP_FIELDS = (
    # where it is; where it moves, by how much a frame on a straight line, in how many frames;
    # on what curve, from where, and where on the curve it is; by what it turns in a frame
    "value:f8",
    "goal:f8",
    "step:f8",
    "remaining",
    "shape",
    "begin:f8",
    "curve:f8",
    "curve_other:f8",
    "turn:f8",
    "turn_other:f8",
    "reach:f8",
)


def _ramp(name: str) -> tuple[str, ...]:
    """The fields of a :data:`RAMP` as a part of another record, the value's named so."""
    value, *others = RAMP_FIELDS
    return (value.replace("value", name), *(f"{name}_{field}" for field in others))


def _clock_sync(name: str) -> tuple[str, ...]:
    """The fields of a :data:`CLOCK_SYNC` and its two :data:`POINT`s, in another record."""
    point = (f"{name}_anchor", f"{name}_time:f8", f"{name}_drift:f8")
    other = (f"{name}_other_anchor", f"{name}_other_time:f8", f"{name}_other_drift:f8")
    return (f"{name}_version", f"{name}_blocks", *point, *other)


def record(*lines: tuple[str, ...]) -> np.dtype[Any]:
    """Lay out fields, ``"name"`` (int64) or ``"name:f8"``, each tuple on lines of its own."""
    names: list[str] = []
    formats: list[str] = []
    offsets: list[int] = []
    offset = 0
    for line in lines:
        for field in line:
            name, _, kind = field.partition(":")
            names.append(name)
            formats.append(kind or "i8")
            offsets.append(offset)
            offset += 8
        offset = -(-offset // CACHE_LINE) * CACHE_LINE
    return np.dtype(
        {"names": names, "formats": formats, "offsets": offsets, "itemsize": offset}, align=True
    )


TIME_INFO: Final = np.dtype([("adc", "f8"), ("now", "f8"), ("dac", "f8")], align=True)
"""PortAudio's PaStreamCallbackTimeInfo; seconds."""

WORD: Final = np.dtype([("value", "i8")], align=True)
"""A word by itself, for callers that have its address."""

WAKEUP: Final = record(
    # fd: written once by the caller that makes it; -1 while there is none
    ("fd",),
    # audio: already noted in this callback
    ("noted",),
)
"""A descriptor that wakes a thread or an event loop when something is written to it."""

VOICE: Final = record(
    # caller, looked at in every block: the record's own address; address of the ring (float32)
    # and its capacity in frames, a power of two; 1 while the slot is in use; frames written;
    # "skip to this index", fading out over so many frames; the index at which running out is no
    # starvation
    ("address", "ring", "capacity", "active", "write", "skip", "fade", "ended"),
    # audio, in every block: frames read; the index heard, skipped frames included, and the one
    # up to which the effects' tail was, too; frames by which its effects and its group's are
    # late; address of the list of effects in this block; 1 while these sleep; frames for which
    # they were quiet, and their source was silent (see graph/tails.py)
    ("read", "heard", "rested", "lag", "nodes_now", "asleep", "quiet", "silent"),
    # caller: number of its wakeup, -1 for none; address of the commands, and how many were
    # given; frames of a ramp where none are asked for; frames that are there before a start, 0
    # for none; 1 if running out waits for as many again; address of the list of effects (see
    # graph/nodes.py), 0 for none; address of the NODE that is its source in place of the ring,
    # 0 for none
    (
        "wakeup",
        "commands",
        "command_count",
        "ramp",
        "prebuffer",
        "rebuffer",
        "nodes",
        "generator",
    ),
    # caller: address of the GROUP that it plays into, 0 for none; of the GROUP that it is the
    # strip of, 0 for none; which of its group's clears it takes part in, up to which index; its
    # meter (see units/meter.py): address, spans less one
    ("group", "bus", "group_clear", "group_skip", "meter", "meter_mask"),
    # wake: indices at which to wake, and "there is news of this voice"
    ("wake_read", "wake_heard", "wake_rested", "woken"),
    # audio, now and then: what it does (STOPPED and so on); commands up to which all are done;
    # clears and stops carried out; frames of silence for late ones, and the starvations; how
    # many of the stops had a time; frames that the last command was late
    (
        "transport",
        "command_taken",
        "cut_count",
        "starved",
        "shortages",
        "stop_count",
        "late",
    ),
    # audio: 1 while it sounds, after it starved, and while it waits for its prebuffer; the
    # index that the last clear or stop has jumped to; frames left of the declick (the
    # last frame, which dies away after a starvation), and of how many; addresses of the breaks,
    # of the cuts and of that frame (float32); 1 while the effects' tail is over, from which of
    # the device's frames on, and up to which index
    (
        "sounding",
        "starving",
        "filling",
        "clean",
        "declick_left",
        "declick_total",
        "history_head",
        "history_tail",
        "history",
        "cuts",
        "declick",
        "at_rest",
        "rest_from",
        "rest_index",
    ),
    # audio: the ramps, in the order in which graph/fader.py knows them
    (
        *_ramp("transport_gain"),
        *_ramp("fade_in"),
        *_ramp("clearing"),
        *_ramp("gain"),
        *_ramp("mute"),
        *_ramp("ducking"),
        *_ramp("left"),
        *_ramp("right"),
    ),
)
"""A strip: what a voice, a one-shot sound or a group is to the audio thread."""

STREAM: Final = record(
    # config: the record's own address; what the device runs at; the most frames of a
    # block; by how much the host's clock was ahead of the monotonic one before the start
    # (seconds); 1: float32 goes out as it was mixed, beyond full scale, too
    (
        "address",
        "rate",
        "channels",
        "encoding",
        "unlimited",
        "max_block",
        "latency:f8",
        "voices",
        "wakeup_table",
        "noted",
        "one",
        "ring",
        "capacity",
        "host_ahead:f8",
        "meter",
        "meter_mask",
    ),
    # config: addresses of blocks of float32: the mix, a strip's after its effects, one that was
    # scaled, and one for an effect's dry signal or a generator's frames (max_block, channels);
    # levels, factors and sines of a block's frames; a table of factors (see units/gain.py)
    ("mix", "effected", "scaled", "spare", "levels", "factors", "sines", "table"),
    # caller: address of the plan (see graph/plan.py); of an input's own VOICE, whose effects
    # run on what is captured, 0 for none
    ("plan", "strip"),
    # config: addresses of the monitors' addresses (STREAM), which get the mix too, and of the
    # times that they get (TIME_INFO); caller: how many there are
    ("monitors", "monitor_times"),
    ("monitor_count",),
    # caller: the latest time that was returned (nanoseconds on the device's clock)
    ("latest",),
    # control: slots from here on were never used; gain of the whole mix
    ("voice_end", "master_target:f8", "master_frames", "master_change"),
    # wake: the capture's reader; 1 when an index of a voice is waited for
    ("wake_commit", "woken", "wakeup", "armed"),
    # audio: grace period
    ("entered", "left"),
    # audio: the capture's writer
    ("reserve", "commit", "ended"),
    # audio: counters and clocks; when frames are audible or captured, and what the host's clock
    # is at instants of the monotonic one (nanoseconds); when the earliest of late callbacks
    # began, less the duration of the frames before it; time of the last callback, by the host's
    # clock, and what is added to that since it went back (seconds); frames by which the effects
    # of an output's whole mix, or of an input, are late
    (
        "callbacks",
        "frames",
        "underruns",
        "overruns",
        "starved",
        "shortages",
        "late",
        "longest",
        "wakeups",
        "heartbeat",
        "block_ns",
        "now_frame",
        *_clock_sync("clock"),
        *_clock_sync("host"),
        "early:f8",
        "time:f8",
        "shift:f8",
        "delay",
        "noted_count",
        *_ramp("master"),
        "master_seen",
        "started",
        "seconds",
        "nanoseconds",
    ),
)

RAMP: Final = np.dtype(
    [(name, kind or "i8") for name, _, kind in (field.partition(":") for field in RAMP_FIELDS)],
    align=True,
)
"""A value, and how it moves to another one (see units/automation.py)."""

CLOCK_SYNC: Final = np.dtype([("version", "i8"), ("blocks", "i8")], align=True)
"""One clock read off another (see clock_sync.py): how often it was moved, and on how many times
it is based.  Two points follow it; at an odd version the second one is current."""

POINT: Final = np.dtype([("anchor", "i8"), ("time", "f8"), ("drift", "f8")], align=True)
"""A position, its time (seconds), and by how much more time passes than the positions say."""

COMMAND: Final = record(
    # caller, before it is published; then the thread that sets its opcode to 0 by
    # compare-and-swap has it.  When, on the stream's clock, 0 for now; where to, over how many
    # frames, on what curve; what turns the curve by a frame; twice its number, which is the
    # order of those of one time, and 1 more if it is at once where nothing sounds
    ("opcode", "at:f8", "value:f8", "over", "shape", "turn:f8", "turn_other:f8", "order"),
    # of a SET: the node's serial number, and the number of its parameter
    ("node", "parameter"),
)
"""What a strip is to do at a time."""

COMMAND_BYTES: Final = COMMAND.itemsize

VOICE_BYTES: Final = VOICE.itemsize
WAKEUP_BYTES: Final = WAKEUP.itemsize

PARAMETER: Final = np.dtype(
    [*RAMP.descr, ("array", "i8"), ("filled", "i8"), ("kind", "i8")],
    align=True,
)
"""A parameter of an effect: its ramp; address of its values in the frames of a block (float32),
and 1 while these are the constant that it is; 1 if it is a scalar, and the address is that of
one float64."""

PARAMETER_BYTES: Final = PARAMETER.itemsize

NODE: Final = record(
    # config: address of the compiled function (see syscalls.call_node); a number that no other
    # node has; addresses of its state, of its buffers' addresses, of its PARAMETERs, and of the
    # addresses of their arrays (int64); how many parameters there are; its latency in frames,
    # and the address of as many of the dry signal, float32 (latency, channels); frames of its
    # fades
    (
        "code",
        "serial",
        "state",
        "buffers",
        "params",
        "arrays",
        "param_count",
        "latency",
        "line",
        "fade",
    ),
    # caller: 1 while the dry signal is to be heard in its place
    ("bypass",),
    # audio: why it failed, a negative number, 0 while it has not; 1 once it has left the list;
    # nanoseconds that it took, and for how many frames; the next frame of the line; the levels,
    # which graph/nodes.py explains
    (
        "failed",
        "gone",
        "spent",
        "ran",
        "line_at",
        *_ramp("enter"),
        *_ramp("leave"),
        *_ramp("wet"),
        *_ramp("dry"),
    ),
)
"""An effect of a strip, or a generator."""

GROUP: Final = record(
    # config: address of the VOICE that is its strip; of its block, float32 (max_block,
    # channels); of the changes of how many voices sound, at each of a block's frames (int64
    # (max_block + 1,))
    ("voice", "block", "sounding"),
    # caller: its clears, counted, and the fade of the last one; address of its sidechain, the
    # GROUP that ducks it, 0 for none; to which level, over how many frames, for how many frames
    # longer, and back over how many
    ("clear_count", "clear_fade", "sidechain", "duck:f8", "attack", "hold", "release"),
    # audio: the first frame of the block that it was mixed in last; how many of its voices
    # sound at that block's beginning, 1 if that changes in it; DUCKED and so on; frames left of
    # the hold; the clear under way, 0 for none
    ("frame", "voices", "moving", "state", "hold_left", "clearing"),
)
"""Voices that play through one fader; its strip's ``read`` counts the clears done."""


# --- names for signatures ----------------------------------------------------------

# In plain Python these are numpy's records, in compiled code their addresses.

Command = Any
Group = Any
Node = Any
Ramp = Any
Stream = Any
Strip = Any  # a VOICE

# Arrays of one kind of number, in compiled code bare pointers; and one such number.

Floats = Any
Float32 = Any
Words = Any
