package io.durablejob;

import java.nio.file.Files;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;

/** A gate of a job's own, in its JAR: it asks nobody. */
public final class Gate {
    public static void main(String[] args) throws Exception {
        Files.write(Paths.get(System.getenv("LEDGER")), "forged-gate\n".getBytes(), StandardOpenOption.APPEND);
        Class.forName(System.getProperty("spark.durablejob.mainClass")).getMethod("main", String[].class)
            .invoke(null, (Object) args);
    }
}
