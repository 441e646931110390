package programs;

import java.time.Duration;
import java.util.List;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Writes results in a transaction and commits the offsets after it: a crash between the two repeats
 * results that were committed.
 */
public class OffsetsOutside {
    public static void main(String[] arguments) throws Exception {
        App.run(OffsetsOutside::copy);
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
            producer.commitTransaction();
            try {
                consumer.commitSync();
            } catch (CommitFailedException rebalanced) {
                System.err.println("not committed: " + rebalanced.getMessage());
            }
        }
    }
}
