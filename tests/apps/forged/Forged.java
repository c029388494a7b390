import java.nio.file.Files;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import org.apache.logging.log4j.core.impl.Log4jContextFactory;

/**
 * What log4j would load before any main, if a job's own settings for it were found. Executors do find them: they have
 * no ledger, and log as ever.
 */
public final class Forged extends Log4jContextFactory {
    static {
        String ledger = System.getenv("LEDGER");
        try {
            if (ledger != null) {
                Files.write(Paths.get(ledger), "forged-log4j\n".getBytes(), StandardOpenOption.APPEND);
            }
        } catch (Exception problem) {
            throw new IllegalStateException(problem);
        }
    }
}
