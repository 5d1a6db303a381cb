"""What a command ends with, for scripts: 0 is done."""

STOPPED = 1  # it could not go on
BAD_INPUT = 2  # something that was given is missing or wrong
UNSCORED = 3  # done, and there are pictures without a score
INTERRUPTED = 130
