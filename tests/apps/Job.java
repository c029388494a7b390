import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import org.apache.spark.sql.SparkSession;

/** A test application: it writes a line to a ledger when it starts, counts on executors, and ends as it is told. */
public final class Job {
    public static void main(String[] args) throws Exception {
        Path ledger = Paths.get(args[0]);
        String name = args[1];
        String how = args[2];
        double seconds = Double.parseDouble(args[3]);
        Files.write(ledger, (name + "\n").getBytes(), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        if (how.equals("count")) {
            try (SparkSession spark = SparkSession.builder().getOrCreate()) {
                long even = spark.range(1000).filter("id % 2 = 0").count();
                System.out.println("even numbers: " + even);
                if (even != 500) {
                    throw new IllegalStateException("counted " + even);
                }
            }
        }
        Thread.sleep((long) (seconds * 1000));
        if (how.equals("throw")) {
            throw new IllegalArgumentException("boom from main");
        }
        if (how.startsWith("halt")) { // without any shutdown hook: nothing is cleaned up
            Runtime.getRuntime().halt(Integer.parseInt(how.substring(4)));
        }
        if (how.startsWith("exit")) {
            System.exit(Integer.parseInt(how.substring(4)));
        }
    }
}
