"""A test application for PySpark: the same as Job.java."""

import sys
import time
import urllib.request
from pathlib import Path

ledger, name, how, seconds = sys.argv[1:5]
if ledger.startswith("http"):  # the URL of a server that keeps it
    urllib.request.urlopen(urllib.request.Request(f"{ledger}/{name}", method="POST")).close()
else:
    with Path(ledger).open("a") as book:
        book.write(name + "\n")
spark = None
if how.startswith("count"):  # and then, with its executors still there, what comes after the plus
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    even = spark.range(1000).filter("id % 2 = 0").count()
    print("even numbers:", even)
    assert even == 500
    how = how.partition("+")[2]
time.sleep(float(seconds))
if how == "eat":  # more memory than it may have
    print(len(b"x" * (3 << 30)))
if spark is not None and not how:
    spark.stop()
if how == "throw":
    raise ValueError("boom from main")
if how.startswith("exit"):
    sys.exit(int(how[4:]))
