#!/usr/bin/env python3
"""Verifies the signatures of mails by opendkim-testmsg, which looks up keys in the DNS.

    opendkim.py NAME RECORD MAIL...    the DNS has one TXT record; ends with 1 where a mail does not verify

Runs as root in namespaces of its own: `unshare --net --mount`. The DNS is answered on 127.0.0.1:53 there.
"""

import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

TXT, IN = 16, 1


def encoded(name):
    labels = name.encode().split(b".")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def answer(question, name, record):
    """The answer of a server that has one record (RFC 1035 section 4)."""
    end = question.index(b"\0", 12) + 5
    asked = question[12:end]
    found = asked.lower() == (encoded(name) + struct.pack("!HH", TXT, IN)).lower()
    head = question[:2] + struct.pack("!HHHHH", 0x8580 if found else 0x8583, 1, int(found), 0, 0)
    if not found:
        return head + asked
    parts = [record[at:at + 255].encode() for at in range(0, len(record), 255)]
    data = b"".join(bytes([len(part)]) + part for part in parts)
    return head + asked + struct.pack("!HHHIH", 0xC00C, TXT, IN, 60, len(data)) + data


def serve(server, name, record):
    while True:
        question, client = server.recvfrom(4096)
        server.sendto(answer(question, name, record), client)


def main():
    name, record, *mails = sys.argv[1:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.NamedTemporaryFile("w") as resolv:
        resolv.write("nameserver 127.0.0.1\n")
        resolv.flush()
        subprocess.run(["mount", "--bind", resolv.name, "/etc/resolv.conf"], check=True)
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 53))
        threading.Thread(target=serve, args=(server, name, record), daemon=True).start()
        program = os.environ.get("OPENDKIM_TESTMSG", "/usr/sbin/opendkim-testmsg")
        for mail in mails:
            with open(mail, "rb") as text:
                ended = subprocess.run([program], stdin=text, timeout=60)
            if ended.returncode != 0:
                sys.exit(f"{mail}: opendkim-testmsg ends with {ended.returncode}")


main()
