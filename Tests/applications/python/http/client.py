"""client.py ADDRESS CERTIFICATE MD5 REQUESTS: requests against the server of the other side, by IPv4 or IPv6."""

import concurrent.futures
import hashlib
import sys

import requests

address, certificate, md5, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
url = f"https://[{address}]:8443" if ":" in address else f"https://{address}:8443"


def download(session, path):
    digest = hashlib.md5()
    with session.get(url + path, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        for piece in answer.iter_content(65536):
            digest.update(piece)
    return digest.hexdigest()


def many(number):
    with requests.Session() as session:
        session.verify = certificate
        return [download(session, "/small") for _ in range(number)]


with requests.Session() as session:
    session.verify = certificate
    assert download(session, "/big") == md5, "md5 of the download"
    with open("big.sent", "rb") as file:
        assert session.put(url + "/big", data=file, timeout=60).text == md5, "md5 of the upload"
    answer = session.get(url + "/there", timeout=60)
    assert answer.status_code == 200 and len(answer.history) == 1, answer
    assert session.get(url + "/none", timeout=60).status_code == 404
    small = download(session, "/small")
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    sums = [found for each in pool.map(many, [count // 16] * 16) for found in each]
assert len(sums) == count // 16 * 16 and set(sums) == {small}, "files of the sessions"
try:
    requests.get(url + "/small", timeout=60)
except requests.exceptions.SSLError:
    pass
else:
    raise AssertionError("a certificate that nobody vouches for is taken")
print(f"ok: {url}: {len(sums)} requests, a big file down and up")
