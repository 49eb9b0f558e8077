"""A real SMTP server for tests: smtpd.py CERT KEY USER PASSWORD

It listens on a free port of 127.0.0.1, which it prints, wants STARTTLS and then the user,
and prints each message as one line of JSON. It ends with its stdin.
"""
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Handler:
    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "content": envelope.content.decode(),
                          "tls": session.ssl is not None, "user": session.auth_data.login.decode()}), flush=True)
        return "250 OK"


async def main():
    cert, key, user, password = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def check(server, session, envelope, mechanism, data):
        ok = isinstance(data, LoginPassword) and data == LoginPassword(user.encode(), password.encode())
        return AuthResult(success=ok, handled=False, auth_data=data)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Handler(), tls_context=context, require_starttls=True, authenticator=check, auth_required=True),
        host="127.0.0.1", port=0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
