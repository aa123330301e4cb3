"""What the headers of sound files claim, compared with what the files hold; any thread.

libsndfile believes a header: it reads no further than that says, and refuses some files that
were cut.  :func:`inspect` finds out what is there and describes the file as libsndfile is to
see it, with the claim put right.  Only headers and the last 128 KiB are looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ("VORBIS_ORDER", "View", "inspect")

At = Callable[[int, int], bytes]
"""Reads so many bytes from a place in a file, fewer at its end."""

UNKNOWN = 0xFFFFFFFF
"""A size that a writer did not know yet."""

TAIL = 1 << 17
"""Bytes of an Ogg file's end that are searched for its last page: two pages at most."""

FOLLOWING = frozenset(
    b"LIST,id3 ,ID3 ,fact,cue ,bext,smpl,inst,PEAK,JUNK,FLLR,iXML,_PMX,DISP,afsp,ANNO,COMT,"
    b"MARK,INST,APPL,NAME,AUTH,(c) ,info,strg,mark,peak,uuid,free".split(b",")
)
"""Chunks that are known to follow the sound."""

CHUNKS = 10_000
"""Chunks that are looked at."""

VORBIS_ORDER = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 5, 3, 4),
    7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}
"""Where Vorbis and Opus have the channels that other formats have first, second ...

From "Vorbis I specification", 4.3.9, which RFC 7845 takes over.  libsndfile does not reorder.
"""


@dataclass
class View:
    """A file as libsndfile is to see it.

    Attributes
    ----------
    shift : int
        A place in the file less the same place as it is seen.
    end : int
        Where the file's content ends, as it is seen.
    size : int
        Of the whole, as libsndfile sees it; more than `end` if the file is read until it ends.
    patches : list of (int, bytes)
        What stands at a place as it is seen, instead of the file's.
    frames : int or None
        What the header claims, where that is known better than by libsndfile.
    is_open : bool
        The length is not known before the end was read.
    remark : str
        What is wrong with the header; empty if nothing is.
    """

    shift: int
    end: int
    size: int
    patches: list[tuple[int, bytes]] = field(default_factory=list)
    frames: int | None = None
    is_open: bool = False
    remark: str = ""

    def is_plain(self, size: int) -> bool:
        """True if it is a file of so many bytes as it is."""
        return not self.patches and self.shift == 0 and self.end == self.size == size

    def put(self, at: int, data: bytes) -> None:
        """Have `data` stand there."""
        self.patches.append((at, data))


def inspect(at: At, size: int, suffix: str = "") -> View:
    """How a file is to be seen.

    Parameters
    ----------
    at : callable
        Reads from the file.
    size : int
        The file's, bytes.
    suffix : str
        Of its name, such as ".mp3".
    """
    view = View(0, size, size)
    start = _after_id3(at)
    magic = at(start, 12)
    if magic[:4] in (b"RIFF", b"RIFX", b"RF64") and magic[8:] == b"WAVE":
        _see_wave(view, at, start)
    elif magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
        _see_aiff(view, at, start)
    elif magic[:4] == b"riff":
        _see_w64(view, at, start)
    elif magic[:4] in (b".snd", b"dns."):
        _see_au(view, at, start)
    elif magic[:4] == b"caff":
        _see_caf(view, at, start)
    elif magic[:4] == b"fLaC":
        _see_flac(view, at, start)
    elif magic[:4] == b"OggS":
        _see_ogg(view, at)
    else:
        _see_mpeg(view, at, start, start > 0 or suffix in (".mp3", ".mp2", ".mpga"))
    return view


def _after_id3(at: At) -> int:
    """Where ID3v2 tags at the beginning end."""
    start = 0
    while (tag := at(start, 10))[:3] == b"ID3" and len(tag) == 10:
        a, b, c, d = tag[6:]
        footer = 10 if tag[5] & 0x10 else 0
        start += 10 + (a << 21 | b << 14 | c << 7 | d) + footer
    return start


# --- chunks ------------------------------------------------------------------------


def _chunks(at: At, place: int, head: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and size of chunk after chunk; `head` is the struct format of a head."""
    length = struct.calcsize(head)
    for _ in range(CHUNKS):
        bare = at(place, length)
        if len(bare) < length:
            return
        name, size = struct.unpack(head, bare)
        yield name, place, size
        place += length + size + (size & 1)


def _is_more_than_sound(at: At, place: int, end: int, head: str) -> bool:
    """True if chunks, a tag or padding follow at a place, not the rest of the sound."""
    rest = at(place, 4096)
    if rest.startswith((b"TAG", b"ID3", b"APETAGEX")) or not rest.strip(b"\0"):
        return True
    length = struct.calcsize(head)
    for name, found, size in _chunks(at, place, head):
        if name in FOLLOWING:
            return True  # cut or not
        is_name = all(32 <= letter < 127 for letter in name)
        if not (is_name and 0 <= size <= end - found - length):
            return False
        if found + length + size + (size & 1) >= end:
            return True
    return False


def _compare(view: View, at: At, data: int, claimed: int, head: str) -> bool:
    """Compare the size that a header claims of the sound with what is there; True if smaller.

    Parameters
    ----------
    data : int
        Where the sound begins.
    head : str
        Struct format of a chunk's head; empty if no chunks follow the sound.
    """
    there = max(view.end - data, 0)
    if claimed > there:
        view.remark = f"its header claims {claimed} bytes of sound, {there} are there"
        return False
    if data + claimed == view.end:
        return False
    for padding in (0, claimed & 1) if head else ():  # some writers forget it
        if _is_more_than_sound(at, data + claimed + padding, view.end, head):
            return False
    view.remark = f"its header claims {claimed} bytes of sound, {there} are there"
    return True


def _see_wave(view: View, at: At, start: int) -> None:
    kind = at(start, 4)
    head = ">4sI" if kind == b"RIFX" else "<4sI"
    long, is_mpeg = 0, False
    for name, place, size in _chunks(at, start + 12, head):
        if name == b"ds64":
            long = int.from_bytes(at(place + 16, 8), "little")
        if name == b"fmt ":
            is_mpeg = at(place + 8, 2) == b"\x55\0"
        if name != b"data":
            continue
        data = place + 8
        claimed = long if kind == b"RF64" and size == UNKNOWN else size
        there = view.end - data
        is_wrong = claimed != UNKNOWN and _compare(view, at, data, claimed, head)
        if is_mpeg:
            if not is_wrong:
                view.end = min(data + claimed, view.end)
            _see_mpeg(view, at, data, True)
            return
        if not is_wrong and (claimed != UNKNOWN or there <= UNKNOWN):
            return
        if there < UNKNOWN and kind != b"RF64":
            view.put(place + 4, struct.pack(head[0] + "I", there))
        elif kind != b"RIFX" and place < start + TAIL:  # the sizes of RF64 have 64 bits
            lengths = struct.pack("<QQQI", view.end - start + 28, there, 0, 0)
            ds64 = b"ds64" + struct.pack("<I", len(lengths)) + lengths
            chunks = b"".join(
                at(found, 8 + size + (size & 1))
                for name, found, size in _chunks(at, start + 12, head)
                if found < place and name != b"ds64"
            )
            top = b"RF64" + b"\xff" * 4 + b"WAVE" + ds64 + chunks + b"data" + b"\xff" * 4
            _begin_with(view, top, data)
        return


def _begin_with(view: View, top: bytes, place: int) -> None:
    """Have the file begin with other bytes, which a place in it follows."""
    view.shift = place - len(top)
    view.end -= view.shift
    view.size = view.end
    view.put(0, top)


def _see_aiff(view: View, at: At, start: int) -> None:
    for name, place, size in _chunks(at, start + 12, ">4sI"):
        if name == b"SSND":
            # Eight bytes of it come before the sound.  libsndfile takes 0 for unknown.
            if size not in (0, UNKNOWN) and _compare(view, at, place + 8, size, ">4sI"):
                view.put(place + 4, struct.pack(">I", min(view.end - place - 8, UNKNOWN)))
            return


def _see_w64(view: View, at: At, start: int) -> None:
    """Have it end where its sound ends; libsndfile plays all that follows."""
    place = start + 40
    for _ in range(CHUNKS):
        head = at(place, 24)
        size = int.from_bytes(head[16:], "little")  # this head included
        there = view.end - place
        if head[:4] == b"data":
            behind = place + (size + 7) // 8 * 8
            rest = view.end - behind
            follows = int.from_bytes(at(behind + 16, 8), "little")
            if 24 <= size <= there and (rest <= 0 or 24 <= follows <= rest):
                view.end = view.size = place + size
            elif size < 1 << 62:  # a writer to a pipe says more
                claimed = max(size - 24, 0)
                view.remark = (
                    f"its header claims {claimed} bytes of sound, {there - 24} are there"
                )
            return
        if size < 24:
            return
        place += (size + 7) // 8 * 8


def _see_au(view: View, at: At, start: int) -> None:
    order = ">" if at(start, 4) == b".snd" else "<"
    head = at(start + 4, 8)
    if len(head) == 8:
        offset, claimed = struct.unpack(order + "II", head)
        if claimed != UNKNOWN and _compare(view, at, start + offset, claimed, ""):
            view.put(start + 8, struct.pack(order + "I", UNKNOWN))


def _see_caf(view: View, at: At, start: int) -> None:
    for name, place, size in _chunks(at, start + 8, ">4sq"):
        if name == b"data":
            there = max(view.end - place - 12, 0)
            if size == -1 or _compare(view, at, place + 12, size, ">4sq") or size > there:
                view.put(place + 4, struct.pack(">q", there))
            return
        if size < 0:
            return


# --- FLAC, Ogg ---------------------------------------------------------------------


def _see_flac(view: View, at: At, start: int) -> None:
    """Have its length unknown, so that it is read to its end."""
    field = at(start + 21, 5)  # of STREAMINFO; RFC 9639, 8.2
    if len(field) == 5:
        view.frames = int.from_bytes(field, "big") & 0xFFFFFFFFF or None
        view.is_open = view.frames is None
        view.put(start + 21, bytes([field[0] & 0xF0, 0, 0, 0, 0]))


def _see_ogg(view: View, at: At) -> None:
    """Have it end with a whole page that says it is the last one; RFC 3533, 6."""
    begin = max(view.end - TAIL, 0)
    tail = at(begin, TAIL)
    found = len(tail)
    while (found := tail.rfind(b"OggS", 0, found)) >= 0:
        head = tail[found : found + 27]
        lengths = tail[found + 27 : found + 27 + (head[26] if len(head) == 27 else 0)]
        end = found + 27 + len(lengths) + sum(lengths)
        ends_no_packet = head[6:14] == b"\xff" * 8
        if len(head) < 27 or len(lengths) < head[26] or end > len(tail) or ends_no_packet:
            continue
        is_last = head[5] & 4
        if is_last and end == len(tail):
            return
        view.end = view.size = begin + end
        if not is_last:
            page = bytearray(tail[found:end])
            page[5] |= 4
            page[22:26] = bytes(4)
            page[22:26] = struct.pack("<I", _checksum(page))
            view.put(begin + found, bytes(page[:27]))
            view.remark = "its last page is missing"
        return


def _checksum(page: bytes | bytearray) -> int:
    """An Ogg page's CRC: of 32 bits, polynomial 0x04C11DB7, not reflected."""
    table = []
    for byte in range(256):
        word = byte << 24
        for _ in range(8):
            word = (word << 1 ^ 0x04C11DB7 if word & 0x80000000 else word << 1) & 0xFFFFFFFF
        table.append(word)
    total = 0
    for byte in page:
        total = (total << 8 & 0xFFFFFFFF) ^ table[total >> 24 ^ byte]
    return total


# --- MPEG --------------------------------------------------------------------------

KILOBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""MPEG version and layer (of version 2, layer 3 as 2) -> bit rates of the indices 1 to 14."""

RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}

SEARCHED = 1 << 16
"""Bytes in which the first frame must be found."""

TAG = b"ID3\x04\0\0\0\0\0\x22" + bytes(34)
"""An empty tag, by which libsndfile recognises an MPEG stream that has no file name."""

OVERSTATED = 64
"""How many times as long the file is said to be, for libmpg123's estimate of its frames."""


def _frame_bytes(head: bytes) -> int:
    """Length of the frame that has this head; 0 if it is none; ISO 11172-3, 2.4.2.3."""
    word = int.from_bytes(head, "big")
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    index, rate = word >> 12 & 15, word >> 10 & 3
    if len(head) < 4 or word >> 21 != 0x7FF or version == 1 or layer == 4:
        return 0
    if index in (0, 15) or rate == 3:
        return 0
    first = version == 3
    bits = KILOBITS[1 if first else 2, layer if first else min(layer, 2)][index - 1] * 1000
    padding = word >> 9 & 1
    if layer == 1:
        return (12 * bits // RATES[version][rate] + padding) * 4
    return (144 if first or layer == 2 else 72) * bits // RATES[version][rate] + padding


def _first_frame(at: At, start: int, end: int, searched: int) -> int | None:
    """Where three frames follow one another, or those that there are."""
    data = at(start, searched)
    found = data.find(b"\xff")
    while found >= 0:
        place = start + found
        for _ in range(3):
            length = _frame_bytes(at(place, 4))
            place += length
            if not length or place >= end:
                break
        if length:
            return start + found
        found = data.find(b"\xff", found + 1)
    return None


def _see_mpeg(view: View, at: At, start: int, searched: bool) -> None:
    """Have it longer than it is, so that it is read to its end and not to the estimate."""
    first = _first_frame(at, start, view.end, SEARCHED if searched else 1)
    if first is None:
        return
    end = view.end - (128 if at(max(view.end - 128, first), 3) == b"TAG" else 0)
    if (footer := at(max(end - 32, first), 32))[:8] == b"APETAGEX":
        tag_bytes = int.from_bytes(footer[12:16], "little") + (footer[23] >> 7) * 32
        end -= min(tag_bytes, end - first)
    frame = at(first, _frame_bytes(at(first, 4)))
    tag = max(frame.find(b"Xing", 0, 60), frame.find(b"Info", 0, 60))
    view.is_open = True
    if tag >= 0:
        flags, frames, size = struct.unpack(">III", frame[tag + 4 : tag + 16].ljust(12, b"\0"))
        has_size = flags & 3 == 3
        if has_size and size + SEARCHED // 16 < end - first:
            view.remark = f"its header claims {size} bytes of sound, {end - first} are there"
        if view.remark or not (flags & 1 and frames):
            first += len(frame)  # and it is no sound
        else:
            view.is_open = False
            if has_size:  # libmpg123 prints a warning where that is not so
                view.put(len(TAG) + tag + 12, struct.pack(">I", min(end - first, UNKNOWN)))
    _begin_with(view, TAG, first)
    view.end = len(TAG) + end - first
    view.size = view.end
    if view.is_open:
        view.size *= OVERSTATED
        view.put(view.size - 128, bytes(128))  # where libmpg123 looks for a tag
