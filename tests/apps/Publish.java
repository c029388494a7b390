package com.example;

import org.apache.hadoop.yarn.api.records.FinalApplicationStatus;
import org.apache.hadoop.yarn.client.api.AMRMClient;
import org.apache.hadoop.yarn.client.api.AMRMClient.ContainerRequest;
import org.apache.hadoop.yarn.conf.YarnConfiguration;

/** The ApplicationMaster of the example DAG for YARN. */
public final class Publish {
    public static void main(String[] args) throws Exception {
        AMRMClient<ContainerRequest> client = AMRMClient.createAMRMClient();
        client.init(new YarnConfiguration());
        client.start();
        client.registerApplicationMaster("127.0.0.1", -1, "");
        System.out.println("published " + args[0]);
        client.unregisterApplicationMaster(FinalApplicationStatus.SUCCEEDED, "published", "");
        client.stop();
    }
}
