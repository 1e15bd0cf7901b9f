"""The one error a user can mend."""


class UserError(Exception):
    """Something the user can mend: configuration, data, checkpoint, disk, device.

    The message is one line that says which key or file, which value, and what to do. Commands print it as
    `error: ...` and leave with exit code 2, without a traceback.
    """
