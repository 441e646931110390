"""Sends mails with Python's smtplib: PORT CA_FILE. Ends with an error where an answer is wrong."""

import smtplib
import ssl
import sys

port, ca = int(sys.argv[1]), sys.argv[2]
sender, recipients = "me@a.example", ["one@b.example", "two@b.example"]


def connect():
    return smtplib.SMTP("localhost", port, timeout=30)


with connect() as client:
    refused = client.sendmail(sender, recipients, "Subject: plain\r\n\r\n.dot\r\n..\r\nend")
    assert refused == {}, refused

with connect() as client:
    text = "Subject: 8-bit\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ngrüße\r\n"
    client.sendmail(sender, recipients, text.encode(), mail_options=["BODY=8BITMIME"])

with connect() as client:
    text = "Subject: utf8\r\n\r\nhi\r\n".encode()
    client.ehlo()
    client.sendmail("grüße@a.example", ["bücher@b.example"], text, ["SMTPUTF8", "BODY=8BITMIME"])

with connect() as client:
    client.starttls(context=ssl.create_default_context(cafile=ca))
    client.ehlo()
    for mechanism in (client.auth_plain, client.auth_login):
        client.user, client.password = "user", "wrong"
        try:
            client.auth("PLAIN" if mechanism == client.auth_plain else "LOGIN", mechanism)
        except smtplib.SMTPAuthenticationError as error:
            assert error.smtp_code == 535, error
        else:
            raise AssertionError("a wrong password was accepted")
    client.login("user", "secret")
    client.sendmail(sender, recipients, "Subject: starttls\r\n\r\nhi\r\n")

with connect() as client:
    client.ehlo()
    client.send(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipients[0]}>\r\nRCPT TO:<bad>\r\nDATA\r\n")
    codes = [client.getreply()[0] for _ in range(4)]
    assert codes == [250, 250, 501, 354], codes
    client.send("Subject: pipelined\r\n\r\nhi\r\n.\r\nRSET\r\n")
    codes = [client.getreply()[0] for _ in range(2)]
    assert codes == [250, 250], codes
