#!/usr/bin/env python3
"""Verifies the signatures of mails by dkimpy, and that any other byte is noticed.

    dkimpy.py NAME RECORD MAIL...    the DNS has one TXT record
"""

import sys

import dkim

# Changed at so many places of each mail.
PLACES = 60


def is_tail(mail, at):
    """Whether a letter is the last one of base64 that is padded: some of its bits mean nothing."""
    after = mail[at + 1:at + 8].translate(None, b" \t\r\n")
    return after.startswith((b"==", b"=;"))


def main():
    name, record, *mails = sys.argv[1:]

    def lookup(asked, timeout=5):
        return record.encode() if asked.rstrip(b".") == name.encode() else None

    def is_valid(mail):
        try:
            return dkim.verify(mail, dnsfunc=lookup)
        except dkim.DKIMException:
            return False

    for path in mails:
        with open(path, "rb") as file:
            mail = file.read()
        if not is_valid(mail):
            sys.exit(f"{path}: the signature does not verify")
        # What stands before it, a relay has added.
        begin = mail.index(b"DKIM-Signature:")
        letters = [at for at in range(begin, len(mail)) if mail[at:at + 1].isalnum()]
        letters = [at for at in letters if not is_tail(mail, at)]
        for at in letters[:: max(1, len(letters) // PLACES)]:
            other = b"y" if mail[at:at + 1].lower() == b"x" else b"x"
            changed = mail[:at] + other + mail[at + 1:]
            if is_valid(changed):
                sys.exit(f"{path}: octet {at} can be changed: {mail[at - 20:at + 20]!r}")
        if is_valid(b"From: someone@else.example\r\n" + mail):
            sys.exit(f"{path}: a second From can be added")


main()
