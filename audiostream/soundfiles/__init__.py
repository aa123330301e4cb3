"""Sound files of every format that libsndfile reads; any thread."""

from audiostream.soundfiles.reader import SoundFile, is_sound_file, open_sound
from audiostream.soundfiles.surround import downmix
from audiostream.soundfiles.writer import SoundWriter

__all__ = ("SoundFile", "SoundWriter", "downmix", "is_sound_file", "open_sound")
