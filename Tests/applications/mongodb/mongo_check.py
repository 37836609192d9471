"""Inserts documents with hashes by pymongo from several threads, reads them back by cursors, and compares.

    mongo_check.py ADDRESS THREADS DOCUMENTS      each thread so many, in a collection of its own
"""

import hashlib
import os
import random
import sys
import threading
import time

import pymongo
import pymongo.errors

LARGE = 15 << 20  # bytes: just below what a document may have


def document(thread, number, length):
    data = os.urandom(length)
    return {"_id": f"{thread}/{number}", "number": number, "parity": number % 2, "data": data,
            "sha256": hashlib.sha256(data).hexdigest()}


def compare(one):
    if hashlib.sha256(one["data"]).hexdigest() != one["sha256"]:
        raise ValueError(f"{one['_id']}: {len(one['data'])} bytes are not those that were inserted")
    return len(one["data"])


def expect(what, wanted, got):
    if wanted != got:
        raise ValueError(f"{what}: {got}, expected {wanted}")


def work(client, thread, count):
    """Returns how many bytes were read and found right."""
    collection = client.test[f"thread{thread}"]
    sizes = random.Random(thread)
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        collection.insert_many([document(thread, number, int(10 ** sizes.uniform(0, 4.3))) for number in numbers])
    size = 0
    for number, one in enumerate(collection.find(sort=[("number", 1)], batch_size=100)):
        expect("order", number, one["number"])
        size += compare(one)
    expect("documents", count, number + 1)
    expect("documents with an odd number", count // 2, len(list(collection.find({"parity": 1}))))
    for number in range(0, count, max(1, count // 50)):
        size += compare(collection.find_one({"_id": f"{thread}/{number}"}))
        client.admin.command("ping")
    abandoned = collection.find(batch_size=2)
    next(abandoned)
    abandoned.close()
    try:
        collection.insert_one({"_id": f"{thread}/0"})
    except pymongo.errors.DuplicateKeyError:
        pass
    else:
        raise ValueError("a second document of the same _id was taken")
    expect("estimated count", count, collection.estimated_document_count())
    collection.drop()
    expect("documents after drop", None, collection.find_one())
    return size


def large(client):
    collection = client.test.large
    collection.insert_one(document("large", 0, LARGE))
    # Unacknowledged: the server says nothing; who asks on the same connection later finds it.
    collection.with_options(write_concern=pymongo.WriteConcern(w=0)).insert_one(document("large", 1, 1 << 20))
    end = time.monotonic() + 30
    while collection.find_one({"_id": "large/1"}) is None:
        if time.monotonic() > end:
            raise ValueError("the unacknowledged document does not come")
    size = sum(compare(one) for one in collection.find())
    collection.drop()
    return size


def main():
    address, threads, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    host = f"[{address}]" if ":" in address else address
    sizes, errors = [], []

    def run(function, *arguments):
        try:
            sizes.append(function(client, *arguments))
        except (ValueError, pymongo.errors.PyMongoError) as error:
            errors.append(error)

    with pymongo.MongoClient(f"mongodb://{host}:27017", serverSelectionTimeoutMS=30000) as client:
        begin = time.monotonic()
        everybody = [threading.Thread(target=run, args=(work, thread, count)) for thread in range(threads)]
        everybody.append(threading.Thread(target=run, args=(large,)))
        for thread in everybody:
            thread.start()
        for thread in everybody:
            thread.join()
        seconds = time.monotonic() - begin
    if errors:
        sys.exit(f"{len(errors)} of {len(everybody)} threads failed; the first: {errors[0]!r}")
    print(f"pymongo {pymongo.version}: {threads * count} documents of {threads} threads, {sum(sizes) / 1e6:.0f} MB read, "
          f"all right, in {seconds:.1f} s")


if __name__ == "__main__":
    main()
