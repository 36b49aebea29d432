"""The task's figure of a variant: its outputs against those of the original, on the same inputs.

A score is a dictionary of `kept` (a share from 0 to 1, for the picture and the order of variants), `text`, and the
figures by name. Every input has the samples' outputs as a list: one list of arrays per sample.
"""

import numpy as np


def agreement(original, variant):
    """Share of samples whose top class is the original's."""
    same = [a[0].reshape(-1).argmax() == b[0].reshape(-1).argmax() for a, b in zip(original, variant)]
    share = float(np.mean(same))
    return {"kept": share, "text": f"agreement {100 * share:.1f} %", "agreement": share, "samples": len(same)}


def pitch(original, variant):
    """Share of frames whose pitch lies within 50 cents of the original's: raw pitch accuracy. Bins of 20 cents."""
    cents = [20 * abs(weighted_bin(a[0]) - weighted_bin(b[0])) for a, b in zip(original, variant)]
    share = float(np.mean(np.array(cents) <= 50))
    return {"kept": share, "text": f"pitch within 50 cents {100 * share:.1f} %", "raw_pitch_accuracy": share}


def weighted_bin(activation):
    """The pitch as a bin: the mean of the nine bins around the peak, weighted by their activations."""
    values = activation.reshape(-1).astype(np.float64)
    peak = int(values.argmax())
    near = np.arange(max(0, peak - 4), min(len(values), peak + 5))
    weights = values[near]
    return float((near * weights).sum() / max(weights.sum(), 1e-12))


def mask(threshold):
    """Intersection over union of the positions above a threshold, over all samples."""

    def score(original, variant):
        both = either = 0
        for a, b in zip(original, variant):
            p, q = a[0] > threshold, b[0] > threshold
            both, either = both + int((p & q).sum()), either + int((p | q).sum())
        share = both / either if either else 1.0
        return {"kept": share, "text": f"mask IoU {100 * share:.1f} %", "iou": share}

    return score


def numbers(original, variant):
    """Signal-to-noise ratio in dB of every output, over all samples; the worst one counts."""
    count = len(original[0])
    ratios = []
    for part in range(count):
        signal = sum(float((a[part].astype(np.float64) ** 2).sum()) for a in original)
        noise = sum(float(((a[part].astype(np.float64) - b[part]) ** 2).sum()) for a, b in zip(original, variant))
        ratios.append(snr_db(signal, noise))
    worst = min(ratios)
    # The relative error of the worst output, as the share that is lost.
    kept = 1 - min(1.0, 10 ** (-worst / 20))
    every = ", ".join(f"{r:.1f}" for r in ratios)
    return {"kept": kept, "text": f"SNR {every} dB", "snr_db": ratios}


def picture(original, variant):
    """Peak signal-to-noise ratio in dB of pictures of values from 0 to 1, the mean over the samples (ITU-T J.340)."""
    ratios = []
    for a, b in zip(original, variant):
        noise = float(((a[0].astype(np.float64) - b[0]) ** 2).mean())
        ratios.append(snr_db(1.0, noise))
    mean = float(np.mean(ratios))
    # The error of the mean ratio, as the share of the peak that is lost.
    kept = 1 - min(1.0, 10 ** (-mean / 20))
    return {"kept": kept, "text": f"PSNR {mean:.1f} dB", "psnr_db": mean, "samples": len(ratios)}


def snr_db(signal, noise):
    """Finite, so that JSON can hold it: 200 dB stands for no difference."""
    if noise == 0:
        return 200.0
    return float(np.clip(10 * np.log10(max(signal, 1e-300) / noise), -200, 200))


def detections(decode, score_above):
    """Recall and precision of detections against the original's: same class, IoU above 0.5.

    `decode` turns the outputs of one sample into boxes `[n, 4]` (left, top, right, bottom), scores and classes.
    """

    def score(original, variant):
        found = expected = matched = 0
        for a, b in zip(original, variant):
            ours, theirs = kept_boxes(*decode(b), score_above), kept_boxes(*decode(a), score_above)
            found, expected, matched = found + len(ours[0]), expected + len(theirs[0]), matched + matches(theirs, ours)
        recall = matched / expected if expected else 1.0
        precision = matched / found if found else float(expected == 0)
        f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
        text = f"recall {100 * recall:.1f} %, precision {100 * precision:.1f} % of {expected} detections"
        return {"kept": f1, "text": text, "recall": recall, "precision": precision, "detections": expected}

    return score


def kept_boxes(boxes, scores, classes, score_above):
    """Boxes and classes above a score, after non-maximum suppression over all classes at IoU 0.45."""
    # NaN compares false: a broken variant detects nothing.
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > score_above]
    kept = []
    for i in order:
        if not kept or overlaps(boxes[i], boxes[kept]).max() < 0.45:
            kept.append(i)
    return boxes[kept], classes[kept]


def matches(expected, found):
    """How many expected detections have a found one of their own."""
    free = list(range(len(found[0])))
    count = 0
    for box, label in zip(*expected):
        able = [j for j in free if found[1][j] == label]
        if not able:
            continue
        shared = overlaps(box, found[0][able])
        if shared.max() > 0.5:
            free.remove(able[int(shared.argmax())])
            count += 1
    return count


def overlaps(box, others):
    """IoU of a box with each of others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.maximum(high - low, 0).prod(1)
    area = lambda b: (b[..., 2:] - b[..., :2]).prod(-1)
    return shared / np.maximum(area(box) + area(others) - shared, 1e-9)


def yolo_v8(outputs):
    """Boxes of `[1, 4 + classes, places]`: centre and size in pixels, then scores."""
    values = outputs[0][0]
    centre, half = values[:2].T, values[2:4].T / 2
    return np.hstack([centre - half, centre + half]), values[4:].max(0), values[4:].argmax(0)


def yolox(outputs, side=416, strides=(8, 16, 32)):
    """Boxes of `[1, places, 5 + classes]`: offsets in cells and logarithms of sizes, objectness, scores."""
    values = outputs[0][0]
    cells, sizes = [], []
    for stride in strides:
        count = side // stride
        y, x = np.divmod(np.arange(count * count), count)
        cells.append(np.stack([x, y], 1))
        sizes.append(np.full((count * count, 1), stride))
    cells, sizes = np.concatenate(cells), np.concatenate(sizes)
    centre = (values[:, :2] + cells) * sizes
    half = np.exp(np.minimum(values[:, 2:4], 20)) * sizes / 2
    scores = values[:, 4:5] * values[:, 5:]
    return np.hstack([centre - half, centre + half]), scores.max(1), scores.argmax(1)
