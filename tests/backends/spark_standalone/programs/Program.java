import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;

/** What the user's program does is said by its first argument. */
public class Program {
    public static void main(String[] arguments) throws Exception {
        System.out.println("program: " + String.join(" ", arguments));
        switch (arguments[0]) {
            case "count": {
                JavaSparkContext context = new JavaSparkContext(new SparkConf());
                long count = context.parallelize(Arrays.asList(1, 2, 3), 1).count();
                System.out.println("counted " + count + " as " + context.sc().appName());
                break;
            }
            case "throw":
                throw new IllegalStateException("not for everybody's eyes");
            case "exit":
                System.exit(Integer.parseInt(arguments[1]));
                break;
            case "sleep":
                Thread.sleep(TimeUnit.SECONDS.toMillis(Long.parseLong(arguments[1])));
                break;
            default:
                break;
        }
    }
}
