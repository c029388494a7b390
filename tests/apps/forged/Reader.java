import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import org.apache.spark.sql.SparkSession;

/** Finds a file that was sent along as a resource, as Spark's documentation has it. */
public final class Reader {
    public static void main(String[] args) throws Exception {
        Files.write(Paths.get(args[0]), (args[1] + "\n").getBytes(), StandardOpenOption.APPEND);
        URL found = Thread.currentThread().getContextClassLoader().getResource("log4j2.component.properties");
        try (SparkSession spark = SparkSession.builder().getOrCreate()) {
            System.out.println("found " + found + ", counted " + spark.range(10).count());
        }
        if (found == null) {
            System.exit(5);
        }
    }
}
