"""make_site.py FOLDER COUNT: pages that link to each other and to files, in subfolders."""

import os
import sys

top, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    folder = f"{top}/part{number % 5}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/file{number}.bin", "wb") as file:
        file.write(os.urandom(number * 1009 % 50000))
    # Each page leads to the next one, so that all are found only by following every one.
    link = f'<a href="../part{(number + 1) % 5}/page{number + 1}.html">on</a>' if number + 1 < count else ""
    with open(f"{folder}/page{number}.html", "w") as page:
        page.write(f'<html><body><a href="file{number}.bin">file</a> {link}</body></html>')
with open(f"{top}/index.html", "w") as page:
    page.write('<html><body><a href="part0/page0.html">begin</a></body></html>')
