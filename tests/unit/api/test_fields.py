"""What may stand in a body, and what is refused before any rule is asked."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.api.fields import read_form, read_json, read_query, required_field, text_field, text_member
from tidegate.api.http import Request
from tidegate.domain.errors import InvalidRequest, MalformedRequest, UnsupportedMediaType

FORM = b"application/x-www-form-urlencoded"
JSON = b"application/json"


def a_request(body: bytes, media_type: bytes | None, query: bytes = b"") -> Request:
    headers = {} if media_type is None else {b"content-type": [media_type]}
    return Request("POST", "/x", query, headers, None, str(uuid4()), body=body)


def reason(refusal: pytest.ExceptionInfo[InvalidRequest]) -> str:
    return str(refusal.value.faults[0])


def test_a_form_is_decoded_as_browsers_encode_it():
    fields = read_form(a_request(b"username=al%C3%AFce+b&password=%2B+%26", FORM))
    assert fields == {"username": "alïce b", "password": "+ &"}


def test_an_empty_field_counts_as_absent():
    assert read_form(a_request(b"username=&email=&password=x&&", FORM)) == {"password": "x"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"username=%zz", "body=broken_percent_encoding"),
        (b"username=abc%4", "body=broken_percent_encoding"),
        (b"username=%", "body=broken_percent_encoding"),
        (b"username=%ff%fe", "body=not_utf8"),
        (b"username=\xff", "body=not_utf8"),
        (b"username=%ED%A0%80", "body=not_utf8"),  # a lone surrogate in UTF-8's form
        (b"username=a&username=b", "username=given_twice"),
        (b"username=a&user%6eame=b", "username=given_twice"),
        (b"username=&username=b", "username=given_twice"),
        (b"%0d%0aX=a&%0d%0aX=b", "field=given_twice"),
        (b"&".join(b"f%d=1" % i for i in range(65)), "body=too_many_fields"),
    ],
)
def test_a_form_that_two_parsers_could_read_differently_is_refused(body, told):
    with pytest.raises(InvalidRequest) as refusal:
        read_form(a_request(body, FORM))
    assert reason(refusal) == told


@pytest.mark.parametrize(
    "media_type", [None, b"text/plain", b"multipart/form-data; boundary=x", JSON, FORM + b"; charset=utf-16"]
)
def test_a_form_of_another_type_is_refused(media_type):
    with pytest.raises(UnsupportedMediaType):
        read_form(a_request(b"username=a", media_type))


def test_no_body_is_a_form_without_fields():
    assert read_form(a_request(b"", None)) == {}


@pytest.mark.parametrize("media_type", [FORM, FORM.upper(), FORM + b"; charset=UTF-8", FORM + b";charset=utf-8"])
def test_the_type_of_a_form_is_compared_as_types_are(media_type):
    assert read_form(a_request(b"a=b", media_type)) == {"a": "b"}


def test_a_query_follows_the_rules_of_a_form():
    assert read_query(a_request(b"", None, b"username=a%20b")) == {"username": "a b"}
    with pytest.raises(MalformedRequest) as refusal:
        read_query(a_request(b"", None, b"username=%f"))
    assert reason(refusal) == "query=broken_percent_encoding"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "body=not_json"),
        (b"{", "body=not_json"),
        (b"{'a': 1}", "body=not_json"),
        (b'{"a": NaN}', "body=not_json"),
        (b'{"a": -Infinity}', "body=not_json"),
        (b'{"a": ' + b"1" * 5000 + b"}", "body=not_json"),
        (b'{"a": 1} x', "body=not_json"),
        (b'\xef\xbb\xbf{"a": 1}', "body=not_json"),  # a byte order mark is not JSON (RFC 8259 section 8.1)
        (b'{"a": "\xff"}', "body=not_utf8"),
        ('{"a": 1}'.encode("utf-16"), "body=not_utf8"),
        (b"[" * 8000, "body=nested_too_deeply"),
        (b'{"a":' * 1600, "body=nested_too_deeply"),
        (b"[]", "body=not_an_object"),
        (b"null", "body=not_an_object"),
        (b'"username"', "body=not_an_object"),
        (b'{"a": 1, "a": 1}', "a=given_twice"),
        (b'{"a": {"b": 1, "b": 2}}', "b=given_twice"),
        (b'{"a": 1, "\\u0061": 2}', "a=given_twice"),
    ],
)
def test_json_that_is_not_one_unambiguous_object_is_refused(body, told):
    with pytest.raises(InvalidRequest) as refusal:
        read_json(a_request(body, JSON))
    assert reason(refusal) == told


@pytest.mark.parametrize("media_type", [None, FORM, b"application/json; charset=latin1", b"text/json", b"application/xml"])
def test_json_of_another_type_is_refused(media_type):
    with pytest.raises(UnsupportedMediaType):
        read_json(a_request(b"{}", media_type))


@pytest.mark.parametrize("absent", [{}, {"a": None}, {"a": ""}])
def test_an_absent_null_or_empty_member_is_none(absent):
    assert text_member(absent, "a") is None


@pytest.mark.parametrize("value", [1, 1.5, True, False, [], ["x"], {}, 0])
def test_a_member_that_is_no_string_is_refused(value):
    with pytest.raises(InvalidRequest) as refusal:
        text_member({"a": value}, "a")
    assert reason(refusal) == "a=not_a_string"


@pytest.mark.parametrize("value", ["\0", "a\0b", "\ud800", "a\udfff"])
def test_what_no_text_column_holds_is_refused(value):
    with pytest.raises(InvalidRequest) as refusal:
        text_member({"a": value}, "a")
    assert reason(refusal) == "a=invalid_characters"
    with pytest.raises(InvalidRequest):
        text_field({"a": value}, "a")


def test_a_required_field_that_is_missing_is_named():
    with pytest.raises(InvalidRequest) as refusal:
        required_field({}, "token")
    assert reason(refusal) == "token=missing"


@given(st.binary(max_size=200))
def test_no_bytes_make_a_reader_fail_otherwise(body):
    """Whatever comes, a reader returns fields or refuses the request."""
    for read, media_type in ((read_form, FORM), (read_json, JSON)):
        try:
            fields = read(a_request(body, media_type))
        except (InvalidRequest, UnsupportedMediaType):
            continue
        assert isinstance(fields, dict)
