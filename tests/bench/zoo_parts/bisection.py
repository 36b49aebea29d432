"""The least percentage that is enough."""


def least(enough, most=99):
    """The least percentage of 1 to `most` that is enough, where all above it are, too; None where none is."""
    if not enough(most):
        return None
    few, many = 0, most
    while few + 1 < many:
        percent = (few + many) // 2
        few, many = (few, percent) if enough(percent) else (percent, many)
    return many
