import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import org.apache.hadoop.yarn.api.records.FinalApplicationStatus;
import org.apache.hadoop.yarn.client.api.AMRMClient;
import org.apache.hadoop.yarn.client.api.AMRMClient.ContainerRequest;
import org.apache.hadoop.yarn.conf.YarnConfiguration;

/** An ApplicationMaster for tests: a line in a ledger when it starts, then the end that it was told. */
public final class Master {
    public static void main(String[] args) throws Exception {
        Path ledger = Paths.get(args[0]);
        String how = args[2];
        Files.write(ledger, (args[1] + "\n").getBytes(), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        if (how.startsWith("exit")) {
            System.exit(Integer.parseInt(how.substring(4)));
        }
        AMRMClient<ContainerRequest> client = AMRMClient.createAMRMClient();
        client.init(new YarnConfiguration());
        client.start();
        client.registerApplicationMaster("127.0.0.1", -1, "");
        long end = System.currentTimeMillis() + (long) (Double.parseDouble(args[3]) * 1000);
        while (System.currentTimeMillis() < end) {
            client.allocate(0.5f);
            Thread.sleep(100);
        }
        client.unregisterApplicationMaster(FinalApplicationStatus.valueOf(how), "it was told " + how, "");
        client.stop();
    }
}
