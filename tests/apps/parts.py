"""A PySpark application made of many parts, each of which it looks for on the driver and on an executor."""

import json
import os
import sys
from pathlib import Path

import helper
import packed
from pyspark.sql import SparkSession

ledger, name, text = sys.argv[1:4]
with Path(ledger).open("a") as book:
    book.write(name + "\n")


def parts(_: object = None) -> dict[str, object]:
    """What is found here."""
    import helper as again

    return {
        "helper": again.WORD,
        "table": Path("table.txt").read_text().strip(),
        "renamed": Path("other-name.txt").read_text().strip(),
        "environment": Path("environment/marker").read_text().strip(),
        "python": "environment" in sys.executable or os.environ.get("DURABLEJOB_ENVIRONMENT"),
    }


spark = SparkSession.builder.getOrCreate()
there = spark.sparkContext.parallelize([1], 1).map(parts).collect()[0]
given = {"argument": json.loads(text), "env": os.environ["GREETING"], "packed": packed.WORD}
read = spark.read.text("hdfs:///apps/table.txt").count()  # the nodes' own settings name the file system
print("parts:", json.dumps({"driver": parts(), "executor": there, "given": given, "read": read}, sort_keys=True))
assert helper.WORD == "help"
spark.stop()
