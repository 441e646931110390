package programs;

import java.time.Duration;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Commits offsets in its transactions by the name of its group alone: nobody notices that its
 * partitions have gone to another member meanwhile, which does the same records.
 */
public class RebalanceIgnored {
    public static void main(String[] arguments) throws Exception {
        App.run(RebalanceIgnored::copy);
    }

    static void copy(KafkaConsumer<String, String> consumer, KafkaProducer<String, String> producer) throws Exception {
        producer.initTransactions();
        consumer.subscribe(List.of("jobs"));
        while (true) {
            var records = consumer.poll(Duration.ofMillis(200));
            if (records.isEmpty()) {
                continue;
            }
            producer.beginTransaction();
            for (var record : records) {
                producer.send(new ProducerRecord<>("results", record.key(), App.work(record.value())));
            }
            producer.sendOffsetsToTransaction(records.nextOffsets(), new ConsumerGroupMetadata("app"));
            producer.commitTransaction();
        }
    }
}
