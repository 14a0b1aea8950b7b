"""Takes mails as an SMTP server and prints what Python's own parser makes of them, as JSON.

The first line is the port; the second comes when as many mails have come as the first argument says."""

import asyncio
import email
import hashlib
import json
import sys
from email import policy

from aiosmtpd.smtp import SMTP

EXPECTED = int(sys.argv[1])


class Take:
    def __init__(self):
        self.envelopes = []
        self.all_there = asyncio.Event()

    async def handle_DATA(self, server, session, envelope):
        self.envelopes.append(envelope)
        if len(self.envelopes) == EXPECTED:
            self.all_there.set()
        return "250 2.0.0 taken"


def tree(part):
    kind = part.get_content_subtype()
    if not part.is_multipart():
        return kind
    return f"{kind}({' '.join(tree(inside) for inside in part.iter_parts())})"


def told(envelope):
    mail = email.message_from_bytes(envelope.content, policy=policy.default)
    parts = [part for part in mail.walk() if part.get_content_disposition()]
    return {
        "from": envelope.mail_from,
        "to": envelope.rcpt_tos,
        "headers": sorted(mail.keys()),
        "subject": mail["Subject"],
        "names": [mail["From"].addresses[0].display_name, mail["To"].addresses[0].display_name],
        "addresses": [mail["From"].addresses[0].addr_spec, mail["To"].addresses[0].addr_spec],
        "message_id": mail["Message-ID"],
        "unsubscribe": [mail["List-Unsubscribe"], mail["List-Unsubscribe-Post"]],
        "tree": tree(mail),
        "charsets": sorted({part.get_content_charset() for part in mail.walk() if part.get_content_maintype() == "text"
                            and not part.get_content_disposition()}),
        "text": mail.get_body(("plain",)).get_content(),
        "html": mail.get_body(("html",)).get_content(),
        "parts": [
            [part.get_filename(), part.get_content_type(), part.get_content_disposition(), part["Content-ID"],
             hashlib.sha256(part.get_payload(decode=True)).hexdigest()]
            for part in parts
        ],
        "defects": [str(defect) for part in mail.walk() for defect in part.defects]
        + [str(defect) for value in mail.values() for defect in getattr(value, "defects", ())],
    }


async def main():
    take = Take()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(take, hostname="mail.example", loop=loop), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.wait_for(take.all_there.wait(), 120)
    print(json.dumps([told(envelope) for envelope in take.envelopes]), flush=True)


asyncio.run(main())
