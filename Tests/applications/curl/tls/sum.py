"""Answers a POST with the md5 of its body."""

import hashlib
import http.server


class Summer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        left, digest = int(self.headers["Content-Length"]), hashlib.md5()
        while left > 0 and (part := self.rfile.read(min(left, 1 << 16))):
            digest.update(part)
            left -= len(part)
        answer = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Summer).serve_forever()
