"""What the program does is said by its first argument."""

import os
import sys
from pathlib import Path

import helper
from pyspark import SparkContext, SparkFiles

if sys.argv[1] == "exit":
    sys.exit(int(sys.argv[2]))
if sys.argv[1] == "raise":
    raise RuntimeError("not for everybody's eyes")
context = SparkContext()
conf = context.getConf()
line = Path(SparkFiles.get("table.txt")).read_text().strip()
print("counted", context.parallelize([1, 2, 3], 1).count(), "with", helper.WORD, line, flush=True)
print("settings", conf.get("spark.app.name"), conf.get("spark.test.words"), context.master, flush=True)
print("variable", os.environ["GREETING"], flush=True)
