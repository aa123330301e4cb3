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
    "COURSE_NUMBERS",
    "CURVE",
    "CURVES",
    "CURVE_BYTES",
    "CUTS",
    "GROUP",
    "HISTORY",
    "LEVELS",
    "LINE",
    "NEAR",
    "NEVER",
    "PAIRS",
    "PASS",
    "POINT",
    "PRODUCER",
    "RAMP",
    "RESAMPLER",
    "SINE",
    "SPAN",
    "SPARE",
    "STREAM",
    "TIMELINE",
    "TIME_INFO",
    "VOICE",
    "VOICE_BYTES",
    "WORD",
    "places_for",
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

LEVELS: Final = 256
"""Points of a voice's way from level to level that its meter remembers (a power of two)."""

NEAR: Final = 128
"""Frames within which a voice's way from level to level is remembered as a straight one."""

PASS: Final = 4
"""Voices that the mixer sums in one pass over the block."""

CURVES: Final = 8
"""Curves that voices in line may share tables of; who is on another one is summed by way of
cubics."""

SPARE: Final = PASS * (CURVES + 3)
"""Places of the line that silence may take to make up one pass of each way (see ways.py)."""

COURSE_NUMBERS: Final = 21
"""Numbers (float64) that the course of a voice in line is made of (see course.py)."""

PAIRS: Final = 4
"""Pairs of numbers (float32) that the channels of a voice in line are multiplied by."""


def places_for(voices: int, groups: int) -> int:
    """Places of a line of so many voices: full passes, and each group begins one of its own."""
    places = voices + PASS * (groups + 1) + SPARE
    return places + -places % PASS


def _ramp(name: str) -> tuple[str, ...]:
    """The fields of a :data:`RAMP` as a part of another record, the value's named so."""
    return (f"{name}:f8", f"{name}_goal:f8", f"{name}_step:f8", f"{name}_left")


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
    # caller, looked at in every block: address of the ring (float32) and its capacity in
    # frames, a power of two; 1 while the slot is in use; a number that moves with every
    # change but those of "write" and "ended"; frames written; "skip to this index", fading
    # out over so many frames; the index at which running dry is no shortage
    ("ring", "capacity", "active", "changes", "write", "skip", "fade", "ended"),
    # audio, in every block: frames read; while nothing but playing on is to be done the
    # changes that this was found out for, else -1; the gain and its ramp; the index
    # heard (skipped frames included) when that was last looked at; while all breaks are
    # behind what to add to the device's frame that is heard now for the index that is, else
    # NEVER
    ("read", "calm", *_ramp("gain"), "heard", "heard_offset"),
    # caller: whom to ring for; address of the commands, and how many were given; frames of a
    # ramp where none are asked for; frames that are there before a start, 0 for none; 1 if
    # running dry waits for as many again
    ("bell", "commands", "command_count", "ramp", "prebuffer", "rebuffer"),
    # caller: address of the GROUP that it plays into, 0 for none; of the GROUP that it is the
    # voice of, 0 for none; which of its group's clears it takes part in, up to which index.
    # Its meter (see meter.py): address, spans less one; of the levels on its way (int64 index,
    # float64 level)
    ("group", "bus", "group_clear", "group_skip", "meter", "meter_mask", "levels"),
    # wake: indices at which to ring, and "there is news for this voice"
    ("wake_read", "wake_heard", "woken"),
    # audio, now and then: what it does (STOPPED and so on); commands behind which all are
    # done; clears and stops executed; frames of silence for late ones, and how often that
    # was; how many of the stops had a time; frames that the last command was late; while the
    # voice is in line what to add to the device's frames for what was read, else NEVER
    (
        "transport",
        "command_taken",
        "cut_count",
        "starved",
        "shortages",
        "stop_count",
        "late",
        "read_offset",
    ),
    # audio: 1 while it sounds, after it ran dry, and while it waits for its prebuffer; the
    # index that the last clear or stop has jumped to; a clear's fade; frames left of the tail
    # behind a shortage; addresses of the break points, of the cuts and of the tail's first
    # frame (float32)
    (
        "sounding",
        "dry",
        "filling",
        "clean",
        "fade_left",
        "fade_total",
        "tail_left",
        "tail_total",
        "history_head",
        "history_tail",
        "history",
        "cuts",
        "tail",
        "level_count",
    ),
    # audio: how the gain moves (see envelope.py), from where, and where on its curve it is;
    # how it is summed in line (see ways.py)
    (
        "shape",
        "gain_from:f8",
        "curve:f8",
        "curve_other:f8",
        "turn:f8",
        "turn_other:f8",
        "span:f8",
        "way",
    ),
    # audio: factors that are usually 1
    _ramp("mute") + _ramp("flow"),
    _ramp("return") + _ramp("left"),
    _ramp("right"),
)

STREAM: Final = _record(
    # config: the record's own address; what the device runs at; slice is the most frames mixed
    # in one go; ramp is the table of each sample's frame, from 1; silence two slices of it;
    # what the host's clock was ahead of the monotonic one before the start (seconds)
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
        "mix",
        "ramp",
        "silence",
        "one",
        "ring",
        "capacity",
        "host_ahead:f8",
    ),
    # config: addresses of the line's arrays (see LINE), and of the addresses of the other
    # voices in use (int64); of the levels of a slice's frames, and of as many sines (float32)
    ("line", "offsets", "until", "sources", "ends", "sizes", "gains", "steps"),
    (
        "gains_now",
        "gain_steps",
        "since",
        "moving_until",
        "targets",
        "others",
        "levels",
        "sines",
    ),
    # config: how many places the line has; addresses of the ways that voices are summed by in
    # each place (int64), of their courses (float64 (pass, COURSE_NUMBERS, PASS)) and numbers
    # (float32 (pass, PAIRS, PASS, 2)), of the CURVEs, and of the addresses of the voices that
    # are to be lined up by way
    ("places", "ways", "courses", "numbers", "curves", "shaped"),
    # config: address of those of the groups in use (int64), and of the record that fills gaps
    # in the line; the meter of what is played or captured
    ("groups", "nobody", "meter", "meter_mask"),
    # config: addresses of those who are handed the mix, too (addresses of their STREAM), and
    # of the times that they are told (TIME_INFO); caller: how many there are
    ("monitors", "monitor_times"),
    ("monitor_count",),
    # caller: the latest time that was told (nanoseconds on the device's clock)
    ("told",),
    # control: slots from here on were never used; a number that moves with every voice's;
    # gain of the whole mix
    ("voice_end", "changes", "master_target:f8", "master_frames", "master_change"),
    # wake: the capture's reader; 1 when a voice's waiters have asked for something
    ("wake_commit", "woken", "bell", "armed"),
    # audio: grace period
    ("entered", "left"),
    # audio: how many places the line has, of how many of them the gain may move, how many hold
    # voices that are not EVEN (see ways.py), how many voices are not in it, how many groups
    # there are, how many places of the line are of no group, the changes that this was found
    # out for, or -1, and frames for which nobody in line is short
    (
        "line_count",
        "ramping",
        "uneven",
        "other_count",
        "group_count",
        "own_count",
        "lined_up",
        "lasts",
    ),
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
        "master:f8",
        "master_goal:f8",
        "master_step:f8",
        "master_left",
        "master_seen",
        "started",
        "seconds",
        "nanoseconds",
    ),
)

RAMP: Final = np.dtype(
    [("value", "f8"), ("goal", "f8"), ("step", "f8"), ("to_go", "i8")], align=True
)
"""A factor, and its straight way to another one in so many frames."""

TIMELINE: Final = np.dtype([("version", "i8"), ("blocks", "i8")], align=True)
"""A straight line of times (see timeline.py): how often it was moved, on how many times it is
based.  Behind it stand two of its points, the current one at an odd version the second."""

POINT: Final = np.dtype([("anchor", "i8"), ("time", "f8"), ("drift", "f8")], align=True)
"""A place, its time (seconds), and by how much more time passes than the places say."""

COMMAND: Final = _record(
    # caller, before it is given; then whoever sets "kind" to 0 by compare-and-swap has it:
    # when, on the stream's clock, 0 for now; where to, over how many frames, on what curve;
    # what turns the curve by a frame; twice the number of its giving, in whose order those of
    # one time are carried out, and 1 more if it is not to move where nothing sounds
    ("kind", "at:f8", "value:f8", "over", "shape", "turn:f8", "turn_other:f8", "order"),
)
"""Something that a voice is to do at a time."""

COMMAND_BYTES: Final = COMMAND.itemsize

BELL_BYTES: Final = BELL.itemsize
VOICE_BYTES: Final = VOICE.itemsize

LINE: Final = {
    "line": np.dtype(np.int64),
    "offsets": np.dtype(np.int64),
    "until": np.dtype(np.int64),
    "sources": np.dtype(np.int64),
    "ends": np.dtype(np.int64),
    "sizes": np.dtype(np.int64),
    "gains": np.dtype(np.float32),
    "steps": np.dtype(np.float32),
    "gains_now": np.dtype(np.float64),
    "gain_steps": np.dtype(np.float64),
    "since": np.dtype(np.int64),
    "moving_until": np.dtype(np.int64),
    "targets": np.dtype(np.int64),
    "ways": np.dtype(np.int64),
}
"""The line of the voices that just play on, as arrays: all that a block needs to know of them.

Addresses of the voices' records; what to add to the device's frames for the read indices, and
those up to which nothing else is to be done; addresses of this block's frames, those at which
the rings end, and the rings' sizes in bytes; gains, and their steps from frame to frame; the
same in full precision; the indices at which what their records tell of them was true, and those
at which they cease to move, 0 where they do not; and pass by pass addresses of the blocks that
they are summed into, and ways (see ways.py).  Voices of one group and way stand together, in
full passes that silence makes up.  The audio thread alone touches them.
"""

CURVE: Final = _record(
    # config: addresses of its tables, float32 (slice, channels): the first is of cosines, or
    # not used where it would be of ones
    ("first", "second"),
    # audio: IN_USE if a voice in line is on it; how many of a group are, and how many of all
    # take its tables; 1 if these are made; as in a voice's record, but that "curve" is where it
    # is behind so many frames
    (
        "used",
        "members",
        "takers",
        "drawn",
        "shape",
        "turn:f8",
        "turn_other:f8",
        "curve:f8",
        "curve_other:f8",
        "behind",
    ),
)
"""A curve that voices in line are on, from the frame before a block (see curves.py)."""

CURVE_BYTES: Final = CURVE.itemsize

GROUP: Final = _record(
    # config: address of the VOICE that holds its gain, its place between left and right and its
    # commands; of its block, float32 (slice, channels); of how many voices more sound from each
    # of a piece's frames on (int64 (slice + 1,)); its meter
    ("voice", "mix", "sounding", "meter", "meter_mask"),
    # caller: its clears, counted, and the fade of the last one; address of the GROUP that it
    # gives way to, 0 for none, and how: to which level, over how many frames, how many frames
    # longer, and back over how many
    ("clear_count", "clear_fade", "key", "duck:f8", "attack", "hold", "release"),
    # audio: how many voices are in use for it; how many of them sound, 1 if that changes in
    # this piece; GIVEN_WAY and so on, and frames left of the hold; the last clear seen; the one
    # under way, 0 for none
    ("members", "voices", "moving", "way", "hold_left", "asked", "clearing"),
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
