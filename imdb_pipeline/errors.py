"""The errors a user can do something about. Anything else that is raised is a bug and keeps its traceback."""


class PipelineError(Exception):
    """Something outside the program is wrong: a file, a setting, an argument, a missing step.

    The message is one line that names what is wrong (file, row, column) and what to do.
    """


class InputError(PipelineError):
    """A source file or an argument is not what it should be."""


class NotPublishedError(PipelineError):
    """What was asked for has not been published in this home yet."""


class GateError(PipelineError):
    """A required check failed, so nothing was published."""
