#!/usr/bin/env python3
"""Reads mails by Python's email, and compares them with the jobs that they were made of.

    read_mails.py < LINES    each line is {"mail": BASE64, "data": JOB_DATA}
"""

import base64
import email
import email.policy
import json
import sys


def lines(text):
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")


def text_of(part):
    return part.get_payload(decode=True).decode("utf-8")


def check_headers(mail, data):
    assert (mail["Subject"] or "") == data["Subject"], f"Subject: {mail['Subject']!r}"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["To"] == data["DestinationAddress"], mail["To"]
    if "ReplyTo" in data:
        assert mail.get_all("Reply-To") == [data["ReplyTo"]], mail["Reply-To"]
    for name, value in data.get("Headers", {}).items():
        found = mail.get_all(name)
        assert found is not None and [str(it) for it in found] == [value], f"{name}: {found!r}"
    known = {"date", "from", "reply-to", "to", "subject", "message-id", "auto-submitted", "mime-version",
             "content-type", "content-transfer-encoding"}
    known.update(name.lower() for name in data.get("Headers", {}))
    others = [name for name in mail.keys() if name.lower() not in known]
    assert not others, f"headers of nobody: {others}"


def check_parts(mail, data):
    leaves = [part for part in mail.walk() if not part.is_multipart()]
    files = [part for part in leaves if part.get_content_disposition()]
    texts = [part for part in leaves if not part.get_content_disposition()]
    html, message = data.get("Html"), data["Message"]
    kinds = ["text/plain"] + (["text/html"] if html is not None else [])
    assert [part.get_content_type() for part in texts] == kinds, texts
    found, expected = text_of(texts[0]), lines(message)
    if mail.is_multipart():
        assert found == expected or html is not None and message == "", f"text: {found!r}"
    else:
        assert found in (expected, expected + "\r\n"), f"text: {found!r}"
    if html is not None:
        assert text_of(texts[1]) == lines(html), "HTML"
    attachments = data.get("Attachments", [])
    if html is not None:
        attachments = sorted(attachments, key=lambda it: "ContentId" not in it)
    assert len(files) == len(attachments), f"{len(files)} files"
    for part, attachment in zip(files, attachments):
        # `get_filename` takes quotes that belong to the name for its own.
        name = part["Content-Disposition"].params["filename"]
        assert name == attachment["Name"], f"name: {name!r}, expected {attachment['Name']!r}"
        kind = attachment["ContentType"].split(";")[0].strip().lower()
        assert part.get_content_type() == kind, f"type: {part.get_content_type()}"
        assert part.get_payload(decode=True) == base64.b64decode(attachment["Content"]), "bytes"
        if "ContentId" in attachment:
            assert part["Content-ID"] == f"<{attachment['ContentId']}>", part["Content-ID"]
            assert part.get_content_disposition() == "inline"
        else:
            assert part.get_content_disposition() == "attachment"


def main():
    count = 0
    for count, line in enumerate(sys.stdin, 1):
        read = json.loads(line)
        mail = email.message_from_bytes(base64.b64decode(read["mail"]), policy=email.policy.default)
        defects = [defect for part in mail.walk() for defect in part.defects]
        assert not defects, f"line {count}: {defects}"
        try:
            check_headers(mail, read["data"])
            check_parts(mail, read["data"])
        except AssertionError as error:
            sys.exit(f"line {count}: {error}\n{json.dumps(read['data'])[:3000]}")
    print(f"{count} mails")


main()
