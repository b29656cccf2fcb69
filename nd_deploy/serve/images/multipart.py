"""The file of an HTML form's upload."""

from __future__ import annotations

from nd_deploy.serve.refusal import BAD_REQUEST, Refusal

MEDIA_TYPE = "multipart/form-data"
# Bytes around the file: boundaries and the headers of its part.
FRAMING = 16 * 2**10

_ADVICE = "send one file, or the file itself as the request's body"


def is_multipart(content_type: str) -> bool:
    """Whether a body of this Content-Type is a form with parts."""
    return content_type.split(";", 1)[0].strip().lower() == MEDIA_TYPE


def file_of_form(body: bytes, content_type: str) -> bytes:
    """The one file of a form (RFC 7578).

    Args:
        body: the whole of it.
        content_type: which names the boundary.

    Raises:
        Refusal: 400, it is no such form, is cut short, or has another number of parts.
    """
    from python_multipart import MultipartParser
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_options_header

    form = _Form()
    try:
        boundary = parse_options_header(content_type.encode("latin-1", "replace"))[1][b"boundary"]
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin_part,
                "on_part_data": form.take,
                "on_end": form.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except KeyError as error:
        raise _refused("the Content-Type of the form names no boundary") from error
    except FormParserError as error:
        raise _refused("the form is damaged") from error
    if not form.whole:
        raise _refused("the form is cut short")
    if not form.parts:
        raise _refused("the form has no part")
    return b"".join(form.pieces)


class _Form:
    """What has been read of a form's only part."""

    def __init__(self) -> None:
        self.parts = 0
        self.pieces: list[bytes] = []
        self.whole = False

    def begin_part(self) -> None:
        self.parts += 1
        if self.parts > 1:
            raise _refused("the form has more than one part")

    def take(self, data: bytes, start: int, end: int) -> None:
        self.pieces.append(data[start:end])

    def end(self) -> None:
        self.whole = True


def _refused(problem: str) -> Refusal:
    return Refusal(BAD_REQUEST, "multipart", f"{problem}: {_ADVICE}")
