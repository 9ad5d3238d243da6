"""Two words for the client tests."""


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def raises(kind, call):
    """The error of this kind that call raises; anything else is a failure of the test."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")
