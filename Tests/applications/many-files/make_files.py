"""Makes many different files of random sizes: FOLDER NUMBER. Sizes are spread evenly over their logarithm, 1 byte to
256 KiB (a mean of about 21 KB), with some that are empty; contents are random. FOLDER.md5 lists their sums as md5sum(1)
does, FOLDER.paths their paths. Files stand in folders of 100. Prints how many bytes they are."""
import hashlib
import os
import pathlib
import random
import sys

folder, number = pathlib.Path(sys.argv[1]), int(sys.argv[2])
total = 0
with open(f"{folder}.md5", "w") as sums, open(f"{folder}.paths", "w") as paths:
    for index in range(number):
        path = folder / str(index // 100) / str(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 0 if index % 97 == 96 else int(2 ** random.uniform(0, 18))
        data = os.urandom(size)
        path.write_bytes(data)
        total += size
        sums.write(f"{hashlib.md5(data).hexdigest()}  {index // 100}/{index}\n")
        paths.write(f"{index // 100}/{index}\n")
print(total)
