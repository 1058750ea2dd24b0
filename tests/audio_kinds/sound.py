"""How equal two sounds are: length, correlation and level."""

import array
import math
import struct
from dataclasses import dataclass
from operator import mul

RATE = 16_000

# The two sounds may be shifted by so many samples at 16 kHz, because resamplers round the delay of their filters.
MOST_LAG = 5

LEAST_CORRELATION = {True: 0.999, False: 0.99}
MOST_DECIBELS = 0.1

# Below this mean square (-90 dB of full scale) a sound counts as silent: correlation and level say nothing of it.
SILENT = 1e-9


@dataclass
class Wav:
    rate: int
    channels: int
    samples: array.array

    @property
    def frames(self):
        return len(self.samples) // self.channels

    def mono(self):
        """The mean of all channels."""
        if self.channels == 1:
            return self.samples
        planes = [self.samples[each::self.channels] for each in range(self.channels)]
        share = 1 / self.channels
        return array.array("f", [total * share for total in map(sum, zip(*planes))])


def read_wav(content):
    """A 32-bit float WAV file; if it was written to a pipe, `data` extends to its end."""
    assert content[:4] == b"RIFF" and content[8:12] == b"WAVE", "not a WAV file"
    at, form = 12, None
    while at + 8 <= len(content):
        name, size = content[at:at + 4], struct.unpack_from("<I", content, at + 4)[0]
        body = content[at + 8:at + 8 + size]
        if name == b"fmt ":
            form = struct.unpack_from("<HHIIHH", body)
            codec = struct.unpack_from("<H", body, 24)[0] if form[0] == 0xFFFE else form[0]
            assert codec == 3 and form[5] == 32, f"not 32-bit float: codec {codec}, {form[5]} bits"
        if name == b"data":
            assert form, "no fmt before data"
            samples = array.array("f", body[:len(body) // (4 * form[1]) * (4 * form[1])])
            return Wav(form[2], form[1], samples)
        at += 8 + size + size % 2
    raise AssertionError("no data")


def write_wav(path, samples, rate=RATE, channels=1):
    data = array.array("f", samples).tobytes()
    form = struct.pack("<HHIIHH", 3, channels, rate, rate * channels * 4, channels * 4, 32)
    head = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + form
    path.write_bytes(head + b"data" + struct.pack("<I", len(data)) + data)


def overlap(heard, truth, lag):
    """The parts of both that lie over each other if `heard` is `lag` samples late."""
    heard, truth = heard[max(0, lag):], truth[max(0, -lag):]
    length = min(len(heard), len(truth))
    return heard[:length], truth[:length]


def correlation(heard, truth, lag):
    """1 for the same sound at any level, -1 for the inverted one, and what `level` needs."""
    heard, truth = overlap(heard, truth, lag)
    squares = sum(map(mul, heard, heard)), sum(map(mul, truth, truth))
    if not squares[0] or not squares[1]:
        return 0.0, squares
    return sum(map(mul, heard, truth)) / math.sqrt(squares[0] * squares[1]), squares


@dataclass
class Difference:
    """`length`: samples at 16 kHz that were heard too many. `level`: dB that the heard sound is louder."""

    length: int
    lag: int
    correlation: float
    level: float
    faults: list

    def __str__(self):
        text = f"length {self.length:+d} samples ({self.length / RATE:+.3f} s), correlation {self.correlation:.5f}, level {self.level:+.2f} dB"
        return f"{text} [{', '.join(self.faults)}]" if self.faults else text


def difference(heard, truth, lossless, most_length, most_lag=MOST_LAG, least_correlation=None):
    """Compares two sounds at 16 kHz; `faults` is empty if they are equal within the limits."""
    faults, length = [], len(heard) - len(truth)
    if not all(map(math.isfinite, heard)):
        return Difference(length, 0, 0.0, 0.0, ["not finite"])
    if abs(length) > most_length:
        faults.append("length")
    if least_correlation is None:
        least_correlation = LEAST_CORRELATION[lossless]
    best, lag, squares = -2.0, 0, (0.0, 0.0)
    for candidate in sorted(range(-most_lag, most_lag + 1), key=abs):
        value, found = correlation(heard, truth, candidate)
        if value > best:
            best, lag, squares = value, candidate, found
        if best > 0.9999:
            break
    quiet = [square <= SILENT * max(1, len(truth)) for square in squares]
    if all(quiet):
        return Difference(length, 0, 1.0, 0.0, faults)
    if best < least_correlation:
        faults.append("sound")
    level = 10 * math.log10(max(squares[0], 1e-12) / max(squares[1], 1e-12))
    if abs(level) > MOST_DECIBELS:
        faults.append("level")
    return Difference(length, lag, best, level, faults)


def find_shift(heard, truth, most=4000, least=0.95):
    """By how many samples `heard` is late, if it is the same sound; for the report of a wrong file, so it may take a second.
    A search at a quarter of the rate over half a second of the loudest part, then at the full rate."""
    window = RATE // 2
    # Not so near to the start that an early sound has lost the piece.
    first = max(0, min(most, len(truth) - window))
    starts = range(first, max(first + 1, len(truth) - window), window // 2)
    start = max(starts, key=lambda at: sum(map(mul, truth[at:at + window], truth[at:at + window])))
    quarter = lambda samples: [sum(samples[at:at + 4]) for at in range(0, len(samples) - 3, 4)]

    def search(heard, piece, lags, at):
        best = (0.0, 0)
        for lag in lags:
            other = heard[at + lag:at + lag + len(piece)] if at + lag >= 0 else []
            if len(other) == len(piece):
                square = sum(map(mul, other, other)) * sum(map(mul, piece, piece))
                value = sum(map(mul, other, piece)) / math.sqrt(square) if square else 0.0
                best = max(best, (value, lag))
        return best

    piece = truth[start:start + window]
    _, coarse = search(quarter(heard), quarter(piece), range(-most // 4, most // 4 + 1), start // 4)
    value, lag = search(heard, piece, range(4 * coarse - 6, 4 * coarse + 7), start)
    return lag if value > least else None
