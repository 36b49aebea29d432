"""Made-up sounds: chords of decaying harmonic notes, and single tones."""

import numpy as np

FIRST = {"calib": 0, "eval": 100_000}


def chords(part, count, samples, rate):
    """`[count, samples]`: each a piece of 3 to 12 notes of random pitch, onset, length and timbre."""
    return np.stack([piece(np.random.default_rng(FIRST[part] + i), samples, rate) for i in range(count)])


def piece(draws, samples, rate):
    time = np.arange(samples) / rate
    sound = draws.normal(0, 0.002, samples)
    for _ in range(draws.integers(3, 13)):
        midi = draws.integers(36, 90)
        onset = draws.uniform(0, time[-1] * 0.8)
        since = np.maximum(time - onset, 0)
        envelope = (time >= onset) * np.minimum(since / 0.01, 1) * np.exp(-since / draws.uniform(0.1, 0.5))
        sound += draws.uniform(0.3, 1) * envelope * harmonics(draws, midi_hertz(midi), time, rate)
    return (sound / np.abs(sound).max() * draws.uniform(0.3, 0.9)).astype(np.float32)


def tones(part, count, samples, rate):
    """`[count, samples]`: each a harmonic tone in noise, of zero mean and unit variance."""
    made = []
    for i in range(count):
        draws = np.random.default_rng(FIRST[part] + i)
        sound = harmonics(draws, midi_hertz(draws.uniform(33, 84)), np.arange(samples) / rate, rate)
        sound += draws.normal(0, sound.std() * 10 ** draws.uniform(-2.5, -0.5), samples)
        made.append((sound - sound.mean()) / sound.std())
    return np.stack(made).astype(np.float32)


def harmonics(draws, hertz, time, rate):
    falling = draws.uniform(0.5, 1.5)
    count = min(12, int(rate / 2 / hertz))
    orders = range(1, max(count, 1) + 1)
    return sum(np.sin(2 * np.pi * hertz * k * time + draws.uniform(0, 2 * np.pi)) / k**falling for k in orders)


def midi_hertz(note):
    return 440 * 2 ** ((note - 69) / 12)
