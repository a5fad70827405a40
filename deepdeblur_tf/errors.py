"""The base of all errors that are meant for users."""


class UserError(ValueError):
    """What a user gave cannot be used, and the message says what was received, what is allowed and what to do.

    Commands print its message alone. Any other exception is a defect of this package and shows its traceback.
    """
