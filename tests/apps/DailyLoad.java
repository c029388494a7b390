package com.example;

import org.apache.spark.sql.SparkSession;

/** The program of the example DAG for YARN. */
public final class DailyLoad {
    public static void main(String[] args) throws Exception {
        try (SparkSession spark = SparkSession.builder().getOrCreate()) {
            System.out.println("loaded " + args[1] + ": " + spark.range(100).count() + " rows");
        }
    }
}
