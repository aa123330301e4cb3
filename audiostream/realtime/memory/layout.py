"""The memory that the audio thread and the others share; any thread.

Records of 64-bit words, grouped into cache lines by who writes them, so that no two
writers share a line.  In every line's name the writer comes first: ``config`` is
written before the stream starts and only read then, ``caller`` and ``control`` by
caller threads (one at a time), ``audio`` by the audio thread, ``wake`` by both sides
by compare-and-swap.  Indices count frames, only grow, and never wrap (64 bits last
6 million years at 48 kHz).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = (
    "BELL",
    "BELL_BYTES",
    "CACHE_LINE",
    "CLOCK",
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
    "PRODUCER",
    "RAMP",
    "RESAMPLER",
    "SINE",
    "SPAN",
    "STREAM",
    "TABLE",
    "TIMELINE",
    "TIME_INFO",
    "VOICE",
    "VOICE_BYTES",
    "WORD",
    "Bell",
    "Clock",
    "Command",
    "Float32",
    "Floats",
    "Group",
    "Node",
    "Parameter",
    "Point",
    "Producer",
    "Ramp",
    "Resampler",
    "Sine",
    "Stream",
    "Strip",
    "Timeline",
    "Times",
    "Word",
    "Words",
)

CACHE_LINE: Final = 64
"""Bytes that two writers must not share."""

NEVER: Final = 1 << 62
"""An index that is never reached: nobody waits."""

HISTORY: Final = 64
"""Break points of heard position that a voice remembers (a power of two)."""

CUTS: Final = 128
"""Executed clears and stops that a voice remembers until the caller has looked.  A caller
looks before it asks for another clear, and half as many stops as that wait for their time."""

COMMANDS: Final = 128
"""Commands that a voice holds until their time has come, or the next block (a power of two)."""

SPAN: Final = 256
"""Frames whose peak and power a meter keeps as one (a power of two)."""

TABLE: Final = 32
"""Samples of a strip's table of factors: 16 stereo frames (see units/gain.py)."""

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
    "span:f8",
)


def _ramp(name: str) -> tuple[str, ...]:
    """The fields of a :data:`RAMP` as a part of another record, the value's named so."""
    value, *others = RAMP_FIELDS
    return (value.replace("value", name), *(f"{name}_{field}" for field in others))


def _timeline(name: str) -> tuple[str, ...]:
    """The fields of a :data:`TIMELINE` and its two :data:`POINT`s, in another record."""
    point = (f"{name}_anchor", f"{name}_time:f8", f"{name}_drift:f8")
    other = (f"{name}_other_anchor", f"{name}_other_time:f8", f"{name}_other_drift:f8")
    return (f"{name}_version", f"{name}_blocks", *point, *other)


def _record(*lines: tuple[str, ...]) -> np.dtype[Any]:
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

BELL: Final = _record(
    # fd: written once by the caller when it makes the bell; -1 while there is none
    ("fd",),
    # audio: already noted in this callback
    ("noted",),
)

VOICE: Final = _record(
    # caller, looked at in every block: the record's own address; address of the ring (float32)
    # and its capacity in frames, a power of two; 1 while the slot is in use; frames written;
    # "skip to this index", fading out over so many frames; the index at which running out is no
    # starvation
    ("address", "ring", "capacity", "active", "write", "skip", "fade", "ended"),
    # audio, in every block: frames read; the index heard, skipped frames included; address of
    # the list of effects in this block
    ("read", "heard", "nodes_now"),
    # caller: whom to wake; address of the commands, and how many were given; frames of a ramp
    # where none are asked for; frames that are there before a start, 0 for none; 1 if running
    # out waits for as many again; address of the list of effects (see graph/nodes.py), 0 for
    # none
    ("bell", "commands", "command_count", "ramp", "prebuffer", "rebuffer", "nodes"),
    # caller: address of the GROUP that it plays into, 0 for none; of the GROUP that it is the
    # strip of, 0 for none; which of its group's clears it takes part in, up to which index; its
    # meter (see units/meter.py): address, spans less one
    ("group", "bus", "group_clear", "group_skip", "meter", "meter_mask"),
    # wake: indices at which to wake, and "there is news for this voice"
    ("wake_read", "wake_heard", "woken"),
    # audio, now and then: what it does (STOPPED and so on); commands up to which all are done;
    # clears and stops carried out; frames of silence for late ones, and how often that was; how
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
    # index that the last clear or stop has jumped to; frames left of the frame that dies away
    # after a starvation, and how many these were; addresses of the break points, of the cuts
    # and of that frame (float32)
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

STREAM: Final = _record(
    # config: the record's own address; what the device runs at; slice is the most frames mixed
    # in one go; what the host's clock was ahead of the monotonic one before the start (seconds)
    (
        "address",
        "rate",
        "channels",
        "encoding",
        "slice",
        "latency:f8",
        "voices",
        "bells",
        "noted",
        "one",
        "ring",
        "capacity",
        "host_ahead:f8",
        "meter",
        "meter_mask",
    ),
    # config: addresses of blocks of float32: the mix, a strip's after its effects, and one that
    # was scaled (slice, channels); levels, factors and sines of a slice's frames; a table of
    # factors (see units/gain.py)
    ("mix", "effected", "scaled", "levels", "factors", "sines", "table"),
    # caller: address of the plan (see graph/plan.py)
    ("plan",),
    # config: addresses of those who are handed the mix, too (addresses of their STREAM), and
    # of the times that they are told (TIME_INFO); caller: how many there are
    ("monitors", "monitor_times"),
    ("monitor_count",),
    # caller: the latest time that was told (nanoseconds on the device's clock)
    ("told",),
    # control: slots from here on were never used; gain of the whole mix
    ("voice_end", "master_target:f8", "master_frames", "master_change"),
    # wake: the capture's reader; 1 when a voice's waiters have asked for something
    ("wake_commit", "woken", "bell", "armed"),
    # audio: grace period
    ("entered", "left"),
    # audio: the capture's writer
    ("reserve", "commit", "ended"),
    # audio: counters and clocks; when frames are heard or captured, and what the host's clock
    # is at instants of the monotonic one (nanoseconds); when the earliest of late callbacks
    # began, less what its frames last; time of the last callback, by the host's clock and what
    # is added to that since it went back (seconds)
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
        *_timeline("clock"),
        *_timeline("host"),
        "early:f8",
        "time:f8",
        "shift:f8",
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

TIMELINE: Final = np.dtype([("version", "i8"), ("blocks", "i8")], align=True)
"""A straight line of times (see clock_sync.py): how often it was moved, on how many times it is
based.  Behind it stand two of its points, the current one at an odd version the second."""

POINT: Final = np.dtype([("anchor", "i8"), ("time", "f8"), ("drift", "f8")], align=True)
"""A place, its time (seconds), and by how much more time passes than the places say."""

COMMAND: Final = _record(
    # caller, before it is given; then whoever sets "kind" to 0 by compare-and-swap has it:
    # when, on the stream's clock, 0 for now; where to, over how many frames, on what curve;
    # what turns the curve by a frame; twice the number of its giving, in whose order those of
    # one time are carried out, and 1 more if it is not to move where nothing sounds
    ("kind", "at:f8", "value:f8", "over", "shape", "turn:f8", "turn_other:f8", "order"),
    # of a SET: the node's serial number, and the number of its parameter
    ("node", "parameter"),
)
"""Something that a voice is to do at a time."""

COMMAND_BYTES: Final = COMMAND.itemsize

BELL_BYTES: Final = BELL.itemsize
VOICE_BYTES: Final = VOICE.itemsize

PARAMETER: Final = np.dtype(
    [*RAMP.descr, ("array", "i8"), ("filled", "i8")],
    align=True,
)
"""A parameter of an effect: its ramp; address of its values in the frames of a slice (float32),
and 1 while these are the constant that it is."""

PARAMETER_BYTES: Final = PARAMETER.itemsize

NODE: Final = _record(
    # config: address of the compiled function (see syscalls.call_node); a number that no other
    # node has; addresses of its state, of its buffers' addresses, of its PARAMETERs, and of the
    # addresses of their arrays (int64); how many parameters there are
    ("code", "serial", "state", "buffers", "params", "arrays", "param_count"),
    # audio: what the function returned when it failed, 0 while it has not
    ("failed",),
)
"""An effect of a strip."""

GROUP: Final = _record(
    # config: address of the VOICE that is its strip; of its block, float32 (slice, channels);
    # of how many voices more sound from each of a block's frames on (int64 (slice + 1,))
    ("voice", "block", "sounding"),
    # caller: its clears, counted, and the fade of the last one; address of the GROUP that ducks
    # it, 0 for none, and how: to which level, over how many frames, how many frames longer, and
    # back over how many
    ("clear_count", "clear_fade", "key", "duck:f8", "attack", "hold", "release"),
    # audio: the first frame of the block that it was mixed in last; how many of its voices
    # sound at that block's beginning, 1 if that changes in it; DUCKED and so on; frames left of
    # the hold; the clear under way, 0 for none
    ("frame", "voices", "moving", "state", "hold_left", "clearing"),
)
"""Voices that are heard through one fader; its voice's ``read`` counts the clears done."""

RESAMPLER: Final = _record(
    # config: address of the filter, float32 (phases, taps); by how many input frames and
    # phases the next output is further; address of the input's frames, float32 (channels,
    # capacity)
    ("filter", "taps", "phases", "whole", "part", "channels", "buffers", "capacity"),
    # caller: frames in the buffers; where the next output's window begins, and its phase
    ("filled", "index", "phase"),
)
"""One resampler; only ever used by one thread at a time."""

SINE: Final = _record(
    # caller: sine and cosine of the first sample's phase, and of the angle from one to the
    # next; amplitude, where it goes to, in how many frames, by how much in each; channels
    (
        "sine:f8",
        "cosine:f8",
        "turn_sine:f8",
        "turn_cosine:f8",
        "level:f8",
        "goal:f8",
        "ramp_left",
        "step:f8",
        "channels",
    ),
)
"""One sine wave; only ever used by one thread at a time."""

PRODUCER: Final = _record(
    # caller: addresses of the stream and of the voice; frames that the ring may hold;
    # encoding and channels of what is written
    ("stream", "voice", "limit", "encoding", "channels"),
)
"""What does not change from one write to a voice to the next."""

CLOCK: Final = _record(
    # config: a virtual device's period; where its blocks come from and go to
    (
        "rate",
        "period",
        "frame_bytes",
        "render",
        "render_user",
        "captures",
        "capture_count",
        "block",
        "silence",
        "source",
        "source_frames",
        "sink",
        "time_info",
    ),
    # control
    ("stop",),
    # audio: where the source stands; 1 when it has ended; bytes the sink took, errors
    (
        "position",
        "frames",
        "origin",
        "due",
        "ended",
        "sink_bytes",
        "sink_failed",
        "seconds",
        "nanoseconds",
    ),
)


# --- names for signatures ----------------------------------------------------------

# In plain Python these are numpy's records, in compiled code their addresses.

Bell = Any
Clock = Any
Command = Any
Group = Any
Node = Any
Parameter = Any
Point = Any
Producer = Any
Ramp = Any
Resampler = Any
Sine = Any
Stream = Any
Strip = Any  # a VOICE
Timeline = Any
Times = Any  # a TIME_INFO
Word = Any

# Arrays of one kind of number, in compiled code bare pointers; and one such number.

Floats = Any
Float32 = Any
Words = Any
